//! The messages of the control socket: one JSON object a line, each way.
//!
//! A connection is one CLI session with its own mode. The client sends [`Request::Open`] first and
//! then its requests; every request gets exactly one [`Response`], in the order of the requests. A
//! client that sends further requests before it has read the responses must go on reading while it
//! sends. Modes, pipes and the command tree run on the server's side.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest line accepted in either direction, bytes without the line end. A longer one closes the
/// connection.
pub const MAX_LINE: usize = 4 << 20;

/// The socket's name inside the run directory.
pub const SOCKET_NAME: &str = "control.sock";

/// How a `show` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// IOS text.
    #[default]
    Text,
    /// JSON where the command has it, else an error.
    Json,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// Begins the session. `privilege` 1 starts in user exec, 15 in privileged exec.
    Open {
        /// Terminal width in columns, 0 when unknown or unlimited.
        width: u16,
        /// Starting privilege level, 0–15.
        privilege: u8,
    },
    /// Executes a line in the session's mode.
    Line {
        /// The line without its end.
        line: String,
        /// Wanted form of the answer.
        #[serde(default)]
        format: Format,
    },
    /// Executes lines in the session's mode, one after the other as if each were sent alone. What
    /// neighbouring lines configure takes effect at once and not line by line.
    Block {
        /// The lines without their ends.
        lines: Vec<String>,
        /// The first line that does not succeed is the last one that is executed.
        #[serde(default)]
        stops: bool,
    },
    /// `?` typed behind `line`.
    Help {
        /// What stands left of the cursor.
        line: String,
    },
    /// TAB pressed behind `line`.
    Complete {
        /// What stands left of the cursor.
        line: String,
    },
    /// Ctrl-Z: back to privileged exec.
    End,
    /// The answer to a password question, see [`Response::password`].
    Password {
        /// What was typed.
        text: String,
    },
}

/// How a request ended. The numbers are the exit codes of `tohub -c` (ARCHITECTURE.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Status {
    /// Done.
    #[default]
    Ok,
    /// Executed and failed.
    Failed,
    /// Not understood: the text has the caret or the IOS parser message.
    Usage,
    /// Understood and refused by a rule of the configuration.
    Refused,
}

impl Status {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
        }
    }

    /// True for [`Status::Ok`].
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }
}

impl From<Status> for u8 {
    fn from(status: Status) -> u8 {
        status.code()
    }
}

impl TryFrom<u8> for Status {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, Self::Error> {
        match code {
            0 => Ok(Self::Ok),
            1 => Ok(Self::Failed),
            2 => Ok(Self::Usage),
            3 => Ok(Self::Refused),
            other => Err(format!("unknown status {other}")),
        }
    }
}

/// The answer to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Text to print, `\n` line ends, without the echoed line and without the next prompt. Empty,
    /// or ending in `\n`. The caret line of a parse error is in it, padded for [`Response::prompt`]
    /// of the answer before.
    pub text: String,
    /// How it ended.
    pub status: Status,
    /// Prompt of the session from now on (`R1(config)#`).
    pub prompt: String,
    /// For a parse error: offset of the first offending character in the request's line, in
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caret: Option<usize>,
    /// Answer to [`Request::Complete`]: full words that may stand in place of the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub completions: Vec<String>,
    /// Answer to [`Request::Block`]: one for each line that was executed. `text` is empty then, and
    /// `status` that of the first line that did not succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Response>,
    /// Answer in JSON when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// Lines of a page, 0 for no pager (`terminal length`).
    #[serde(default)]
    pub page: u16,
    /// The session waits for [`Request::Password`]; `text` is the question.
    #[serde(default)]
    pub password: bool,
    /// The session has ended (`exit` from exec mode).
    #[serde(default)]
    pub closed: bool,
}

/// Why a line was not a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The line is not the JSON of the message expected.
    #[error("control socket: not a valid message: {0}; client and server must be of the same release")]
    Json(#[from] serde_json::Error),
    /// The line is longer than [`MAX_LINE`].
    #[error("control socket: line longer than {MAX_LINE} bytes")]
    TooLong,
}

/// One message as a line with its end.
pub fn encode<T: Serialize>(message: &T) -> Result<String, MessageError> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    Ok(line)
}

/// The message of one line (with or without its end).
pub fn decode<T: DeserializeOwned>(line: &str) -> Result<T, MessageError> {
    if line.len() > MAX_LINE {
        return Err(MessageError::TooLong);
    }
    Ok(serde_json::from_str(line.trim_end_matches(['\r', '\n']))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_socket_on_one_line_each() {
        let request = Request::Line { line: "show clock\n\"x\"".into(), format: Format::Json };
        let text = encode(&request).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(decode::<Request>(&text).unwrap(), request);
        let response = Response {
            text: "a\nb\n".into(),
            status: Status::Refused,
            caret: Some(3),
            ..Response::default()
        };
        assert_eq!(decode::<Response>(&encode(&response).unwrap()).unwrap(), response);
    }

    #[test]
    fn foreign_lines_are_refused_with_a_remedy() {
        let error = decode::<Request>("GET / HTTP/1.0").unwrap_err().to_string();
        assert!(error.contains("same release"), "{error}");
        assert!(decode::<Response>(r#"{"text":"","status":77,"prompt":""}"#).is_err());
    }
}
