//! The messages of the control socket: one JSON object per line in each direction.
//!
//! A connection is one CLI session with its own mode. The client first sends [`Request::Open`],
//! then its requests; every request gets exactly one [`Response`], in order. A client that sends
//! requests before it has read all responses must keep reading while it sends. Modes, output
//! filters and the command tree are on the server's side.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Maximum line length in either direction in bytes, without the line end. A longer line closes the
/// connection.
pub const MAX_LINE: usize = 4 << 20;

/// Name of the socket in the run directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Output format of `show` commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// IOS text.
    #[default]
    Text,
    /// JSON where the command has it, else an error.
    Json,
}

/// A request of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// Opens the session. `privilege` 1 starts in user exec, 15 in privileged exec.
    Open {
        /// Terminal width in columns, 0 when unknown or unlimited.
        width: u16,
        /// Initial privilege level, 0–15.
        privilege: u8,
    },
    /// Executes a line in the session's mode.
    Line {
        /// The line without its end.
        line: String,
        /// Requested output format.
        #[serde(default)]
        format: Format,
    },
    /// Executes lines in the session's mode, one after the other as if each were sent alone, except
    /// that the configuration of adjacent lines takes effect together.
    Block {
        /// The lines without their ends.
        lines: Vec<String>,
        /// Execution ends at the first line that fails.
        #[serde(default)]
        stops: bool,
    },
    /// `?` typed behind `line`.
    Help {
        /// The text left of the cursor.
        line: String,
    },
    /// TAB pressed behind `line`.
    Complete {
        /// The text left of the cursor.
        line: String,
    },
    /// Ctrl-Z: back to privileged exec.
    End,
    /// The answer to a password prompt, see [`Response::password`].
    Password {
        /// The password.
        text: String,
    },
}

/// Result of a request. The numbers are the exit codes of `tohub -c` (ARCHITECTURE.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Status {
    /// Executed successfully.
    #[default]
    Ok,
    /// Executed and failed.
    Failed,
    /// Not parsed: the text has the caret or the IOS parser message.
    Usage,
    /// Parsed, and rejected by a rule of the configuration.
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

/// The response to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Text to print, with ` ` line ends, without the echoed line and the next prompt. Empty, or
    /// ending in ` `. It includes the caret line of a parse error, padded for the
    /// [`Response::prompt`] of the previous response.
    pub text: String,
    /// The result.
    pub status: Status,
    /// The session's new prompt (`R1(config)#`).
    pub prompt: String,
    /// For a parse error: offset of the first offending character in the request's line, in
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caret: Option<usize>,
    /// Response to [`Request::Complete`]: full words that can replace the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub completions: Vec<String>,
    /// Response to [`Request::Block`]: one for each executed line. `text` is empty then, and
    /// `status` is that of the first line that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Response>,
    /// JSON output, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// Page length in lines, 0 for no pager (`terminal length`).
    #[serde(default)]
    pub page: u16,
    /// The session waits for [`Request::Password`]; `text` is the prompt.
    #[serde(default)]
    pub password: bool,
    /// The session has ended (`exit` from exec mode).
    #[serde(default)]
    pub closed: bool,
}

/// Why a line is not a valid message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The line is not the JSON of the message expected.
    #[error("control socket: not a valid message: {0}; client and server must be of the same release")]
    Json(#[from] serde_json::Error),
    /// The line is longer than [`MAX_LINE`].
    #[error("control socket: line longer than {MAX_LINE} bytes")]
    TooLong,
}

/// Encodes a message as a line with its end.
pub fn encode<T: Serialize>(message: &T) -> Result<String, MessageError> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    Ok(line)
}

/// Decodes a message from a line (with or without its end).
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
