//! The state of a CLI session, and requests that only depend on it.

use std::sync::Arc;

use super::ask::CommandError;
use super::pipe::{self, Pipe, PipeError};
use super::text;
use crate::Configuration;
use crate::control::{Response, Status};
use crate::edit::{self, Mode};
use crate::exec;
use crate::tree::{Entry, ParseError, Token, tokens};

/// Maximum number of attempts at the enable secret.
const ATTEMPTS: u8 = 3;

/// The state of a session between two requests.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) privilege: u8,
    /// Configuration mode; `None` in exec mode.
    pub(super) mode: Option<Mode>,
    /// The running configuration at the time configuration mode was entered.
    pub(super) before: Option<Arc<Configuration>>,
    /// Page length in lines.
    pub(super) page: u16,
    /// Width in columns.
    pub(super) width: u16,
    /// Attempts left while the enable secret is requested.
    pub(super) password: Option<u8>,
    pub(super) closed: bool,
}

impl Session {
    pub(super) fn new(privilege: u8) -> Self {
        let privilege = privilege.min(15);
        Self { privilege, mode: None, before: None, page: 24, width: 80, password: None, closed: false }
    }

    /// As in IOS, host names are truncated to 20 characters in configuration modes.
    pub(super) fn prompt(&self, configuration: &Configuration) -> String {
        let name = &configuration.system.hostname;
        match &self.mode {
            Some(mode) => format!("{}({})#", name.chars().take(20).collect::<String>(), mode.prompt()),
            None if self.privilege > 1 => format!("{name}#"),
            None => format!("{name}>"),
        }
    }

    /// Adds the session's prompt and state to a response.
    pub(super) fn complete_response(&self, response: Response, configuration: &Configuration) -> Response {
        Response {
            prompt: self.prompt(configuration),
            page: self.page,
            password: self.password.is_some(),
            closed: self.closed,
            ..response
        }
    }

    /// `enable` without a sufficient privilege level.
    pub(super) fn enable(&mut self, running: &Configuration) -> Response {
        if running.system.enable_secret.is_none() {
            return failure(&CommandError::Failed("% No password set".into()));
        }
        self.password = Some(ATTEMPTS);
        ok("Password: ".into())
    }

    pub(super) fn check_password(&mut self, typed: &str, running: &Configuration) -> Response {
        let Some(left) = self.password.take() else { return Response::default() };
        let secret = running.system.enable_secret.as_ref();
        if secret.is_some_and(|secret| secret.matches(typed)) {
            self.privilege = 15;
            return Response::default();
        }
        if left > 1 {
            self.password = Some(left - 1);
            return ok("Password: ".into());
        }
        failure(&CommandError::Failed("% Bad secrets\n".into()))
    }

    pub(super) fn help(&self, line: &str, configuration: &Configuration) -> Response {
        match self.expected(line) {
            Ok((entries, partial)) => ok(text::help(&entries, &partial)),
            Err(error) => self.parse_error(&error, line, self.mode.is_none(), configuration),
        }
    }

    /// Words that may replace the last one of `line`.
    pub(super) fn complete(&self, line: &str) -> Vec<String> {
        let Ok((entries, partial)) = self.expected(line) else { return Vec::new() };
        let keyword = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let words = entries.into_iter().map(|entry| entry.text);
        words.filter(|text| keyword(text) && text.starts_with(&partial.to_ascii_lowercase())).collect()
    }

    /// What can follow at the end of `line`, with the partial word there.
    fn expected(&self, line: &str) -> Result<(Vec<Entry>, String), ParseError> {
        let mut words = tokens(line);
        let partial = match words.last() {
            Some(last) if last.at + last.text.len() == line.len() => words.pop().map_or("", |word| word.text),
            _ => "",
        };
        let is_do = words.first().is_some_and(|word| word.text.eq_ignore_ascii_case("do"));
        let entries = match &self.mode {
            Some(mode) if !is_do => edit::mode_help(mode, line, &words, partial)?,
            _ => {
                let words = if self.mode.is_some() { &words[1..] } else { &words[..] };
                self.exec_expected(line, words, partial)?
            }
        };
        Ok((entries, partial.into()))
    }

    fn exec_expected(
        &self,
        line: &str,
        words: &[Token<'_>],
        partial: &str,
    ) -> Result<Vec<Entry>, ParseError> {
        if words.iter().any(|word| word.text == "|") {
            let after = words.iter().skip_while(|word| word.text != "|").count();
            let listed = pipe::KEYWORDS.iter().filter(|(name, _)| after == 1 && name.starts_with(partial));
            let line = Entry { text: "LINE".into(), help: "Regular Expression".into() };
            return Ok(match after {
                1 => {
                    listed.map(|(name, help)| Entry { text: (*name).into(), help: (*help).into() }).collect()
                }
                _ => vec![line],
            });
        }
        let (form, rest) = edit::form_of(words);
        let mut entries = exec::tree(self.privilege).expected(line, rest, partial, form)?;
        let is_show = rest.first().is_some_and(|first| is_show(first.text));
        if is_show && partial.is_empty() && entries.last().is_some_and(|entry| entry.text == "<cr>") {
            let modifier = Entry { text: "|".into(), help: "Output modifiers".into() };
            entries.insert(entries.len() - 1, modifier);
        }
        Ok(entries)
    }

    pub(super) fn parse_error(
        &self,
        error: &ParseError,
        line: &str,
        exec: bool,
        configuration: &Configuration,
    ) -> Response {
        let (text, caret) = text::session_error(error, line, &self.prompt(configuration), exec);
        Response { text, caret, status: Status::Usage, ..Response::default() }
    }

    pub(super) fn pipe_error(
        &self,
        at: usize,
        error: &PipeError,
        line: &str,
        configuration: &Configuration,
    ) -> Response {
        let error = match error {
            PipeError::Keyword => ParseError::Invalid { at, understood: 1 },
            PipeError::Incomplete => ParseError::Incomplete { understood: 1 },
            PipeError::Expression(reason) => {
                let text = format!("% Invalid regular expression: {}\n", reason.lines().last().unwrap_or(""));
                return Response { text, status: Status::Usage, ..Response::default() };
            }
        };
        self.parse_error(&error, line, true, configuration)
    }
}

fn is_show(word: &str) -> bool {
    word.len() >= 2 && "show".starts_with(&word.to_ascii_lowercase())
}

type Split<'t, 'l> = (&'t [Token<'l>], Option<Pipe>);

/// Splits a show command at its `|`. The error has the byte offset for the caret.
pub(super) fn split_pipe<'t, 'l>(
    line: &str,
    words: &'t [Token<'l>],
) -> Result<Split<'t, 'l>, (usize, PipeError)> {
    let shows = words.first().is_some_and(|first| is_show(first.text));
    let at = words.iter().position(|word| word.text.starts_with('|')).filter(|_| shows);
    let Some(index) = at else { return Ok((words, None)) };
    let behind = words[index].at + 1;
    match Pipe::parse(&line[behind..]) {
        Ok(pipe) => Ok((&words[..index], Some(pipe))),
        Err(error) => {
            let next = tokens(&line[behind..]).first().map_or(line.len(), |word| behind + word.at);
            Err((next, error))
        }
    }
}

pub(super) fn ok(text: String) -> Response {
    Response { text, ..Response::default() }
}

pub(super) fn refused(text: String) -> Response {
    Response { text: text + "\n", status: Status::Refused, ..Response::default() }
}

pub(super) fn failure(error: &CommandError) -> Response {
    let (status, prefix, text) = match error {
        CommandError::Refused(text) => (Status::Refused, "%ERROR: ", text),
        CommandError::Failed(text) => (Status::Failed, "% ", text),
    };
    let prefix = if text.starts_with('%') { "" } else { prefix };
    Response { text: format!("{prefix}{text}\n"), status, ..Response::default() }
}
