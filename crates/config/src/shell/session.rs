//! The session itself.

use std::sync::Arc;

use super::executor::{CommandError, Executor, Outcome, Reply};
use super::pipe::{self, Pipe, PipeError};
use super::text;
use crate::Configuration;
use crate::command::ShowCommand;
use crate::commit;
use crate::control::{Format, Request, Response, Status};
use crate::diff::diff;
use crate::edit::{self, Editor, Environment, Import, ImportError, Imported, KnownRules, Mode, Next};
use crate::exec::{self, ExecAction, SessionCommand};
use crate::render_show;
use crate::tree::{Entry, ParseError, Token, tokens};

/// Longest line accepted, bytes.
pub const MAX_LINE: usize = 4096;

/// Attempts at the enable secret.
const ATTEMPTS: u8 = 3;

/// One CLI session. A copy is the session as it was.
#[derive(Clone, Debug)]
pub struct Shell {
    privilege: u8,
    /// Configuration mode, `None` in exec.
    mode: Option<Mode>,
    /// The configuration when configuration mode was entered.
    before: Option<Arc<Configuration>>,
    page: u16,
    width: u16,
    /// Attempts left while the enable secret is asked for.
    password: Option<u8>,
    closed: bool,
}

impl Shell {
    /// A session in exec mode at `privilege` (0–15); from level 2 on the prompt is `#`.
    pub fn new(privilege: u8) -> Self {
        let privilege = privilege.min(15);
        Self { privilege, mode: None, before: None, page: 24, width: 80, password: None, closed: false }
    }

    /// True while the session is in a configuration mode.
    pub fn is_configuring(&self) -> bool {
        self.mode.is_some()
    }

    /// The prompt, as `R1(config-crypto-map)#`. Long host names are cut to 20 characters in configuration modes.
    pub fn prompt(&self, executor: &dyn Executor) -> String {
        let name = &executor.running().system.hostname;
        match &self.mode {
            Some(mode) => format!("{}({})#", name.chars().take(20).collect::<String>(), mode.prompt()),
            None if self.privilege > 1 => format!("{name}#"),
            None => format!("{name}>"),
        }
    }

    /// Answers one request of the control socket.
    pub fn handle(&mut self, request: &Request, executor: &mut dyn Executor) -> Reply {
        let response = match request {
            Request::Open { width, privilege } => {
                if self.mode.is_some() {
                    executor.abandoned();
                }
                *self = Self { width: *width, ..Self::new(*privilege) };
                Response::default()
            }
            Request::Line { line, format } => match self.line(line, *format, executor) {
                Some(response) => response,
                None => return Reply::Later,
            },
            Request::Help { line } => self.help(line, executor),
            Request::Complete { line } => {
                Response { completions: self.complete(line), ..Response::default() }
            }
            Request::End => self.leave(executor),
            Request::Password { text } => self.check_password(text, executor),
        };
        Reply::Now(self.complete_response(response, executor))
    }

    /// The response of a command that was answered with [`Outcome::Later`].
    pub fn finish(&mut self, result: Result<String, CommandError>, executor: &dyn Executor) -> Response {
        let response = match result {
            Ok(text) => ok(text),
            Err(error) => failure(&error),
        };
        self.complete_response(response, executor)
    }

    fn complete_response(&self, response: Response, executor: &dyn Executor) -> Response {
        Response {
            prompt: self.prompt(executor),
            page: self.page,
            password: self.password.is_some(),
            closed: self.closed,
            ..response
        }
    }

    fn enter(&mut self, executor: &mut dyn Executor) -> Response {
        let before = Arc::new(executor.running().clone());
        let note = executor.entered(&before);
        (self.mode, self.before) = (Some(Mode::Global), Some(before));
        ok("Enter configuration commands, one per line.  End with CNTL/Z.\n".to_owned() + &note)
    }

    /// Leaves configuration mode: what must not be gone is put back first, what is not protected any more is named. If
    /// that cannot be applied, the session stays where it is, and so does what is protected.
    fn leave(&mut self, executor: &mut dyn Executor) -> Response {
        let Some(before) = self.before.clone().filter(|_| self.mode.is_some()) else {
            return Response::default();
        };
        let baselines = executor.baselines();
        let all: Vec<&Configuration> =
            std::iter::once(&before).chain(&baselines.cut).map(AsRef::as_ref).collect();
        let others: Vec<&Configuration> = baselines.open.iter().map(AsRef::as_ref).collect();
        let mut candidate = executor.running().clone();
        let review = commit::review_edits(&all, &mut candidate, &others);
        if let Err(error) = commit::settle(&mut candidate) {
            return refused(error.0);
        }
        let changes = diff(executor.running(), &candidate);
        if !changes.is_empty()
            && let Err(error) = executor.apply(candidate, &changes)
        {
            return failure(&error);
        }
        (self.mode, self.before) = (None, None);
        executor.left(&review.lost);
        let status = if review.refused.is_empty() { Status::Ok } else { Status::Refused };
        Response { text: review.text(), status, ..Response::default() }
    }

    /// `None` when the answer comes later.
    fn line(&mut self, line: &str, format: Format, executor: &mut dyn Executor) -> Option<Response> {
        if line.len() > MAX_LINE {
            let text = format!("%ERROR: line longer than {MAX_LINE} characters; split it\n");
            return Some(Response { text, status: Status::Usage, ..Response::default() });
        }
        // A NUL is a keep-alive of some clients: it takes no column.
        let clean: String = line
            .trim_end_matches(['\r', '\n'])
            .chars()
            .filter(|c| *c != '\0')
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let words = tokens(&clean);
        match (&self.mode, words.first()) {
            (_, None) => Some(Response::default()),
            (_, Some(first)) if first.text.starts_with('!') => Some(Response::default()),
            (Some(_), Some(first)) if words.len() > 1 && first.text.eq_ignore_ascii_case("do") => {
                self.exec(&clean, &words[1..], format, executor)
            }
            (Some(mode), Some(_)) => {
                let mode = mode.clone();
                Some(self.configure(mode, &clean, &words, executor))
            }
            // Pasted configurations end so. It stands in no command tree, where it would make "en" ambiguous.
            (None, Some(first)) if words.len() == 1 && first.text.eq_ignore_ascii_case("end") => {
                Some(Response::default())
            }
            (None, Some(_)) => self.exec(&clean, &words, format, executor),
        }
    }

    fn configure(
        &mut self,
        mode: Mode,
        line: &str,
        words: &[Token<'_>],
        executor: &mut dyn Executor,
    ) -> Response {
        let step = match edit::parse(&mode, line, words) {
            Ok(step) => step,
            Err(error) => return self.parse_error(&error, line, false, executor),
        };
        let collecting = mode.collects();
        let mut candidate = executor.running().clone();
        let mut resolver = Resolver(executor);
        let mut editor = Editor {
            configuration: &mut candidate,
            mode,
            notices: Vec::new(),
            from_file: false,
            known_rules: &mut KnownRules::default(),
            environment: &mut resolver,
        };
        let next = match step.apply(&mut editor) {
            Ok(next) => next,
            Err(error) => {
                // What was collected and is refused as a whole goes with its mode.
                if collecting {
                    self.mode = Some(editor.mode);
                }
                return refused(error.0);
            }
        };
        let (mode, mut notices) = (editor.mode, editor.notices);
        if next == Next::Leave {
            return self.leave(executor);
        }
        match commit::settle(&mut candidate) {
            Ok(notes) => notices.extend(notes),
            Err(error) => return refused(error.0),
        }
        let known = commit::filter_notes(executor.running());
        notices.extend(commit::filter_notes(&candidate).into_iter().filter(|note| !known.contains(note)));
        let changes = diff(executor.running(), &candidate);
        let applied =
            if changes.is_empty() { Ok(String::new()) } else { executor.apply(candidate, &changes) };
        match applied {
            Ok(text) => {
                self.mode = Some(mode);
                let notices: String = notices.iter().map(|notice| format!("{notice}\n")).collect();
                ok(notices + &text)
            }
            Err(error) => failure(&error),
        }
    }

    fn exec(
        &mut self,
        line: &str,
        words: &[Token<'_>],
        format: Format,
        executor: &mut dyn Executor,
    ) -> Option<Response> {
        let (words, pipe) = match split_pipe(line, words) {
            Ok(split) => split,
            Err((at, error)) => return Some(self.pipe_error(at, &error, line, executor)),
        };
        let (form, rest) = edit::form_of(words);
        let matched = match exec::tree(self.privilege).parse(line, rest, form) {
            Ok(matched) => matched,
            Err(error) => return Some(self.parse_error(&error, line, true, executor)),
        };
        let json = format == Format::Json || matches!(pipe, Some(Pipe::Json));
        match (matched.action)(&matched.args) {
            ExecAction::Session(command) => Some(self.session_command(command, executor)),
            ExecAction::Show(command) if json => Some(match executor.show_json(&command) {
                Ok(value) => {
                    let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
                    Response { text, json: Some(value), ..Response::default() }
                }
                Err(error) => failure(&error),
            }),
            ExecAction::Show(command) => Some(match show(&command, executor) {
                Ok(text) => ok(pipe.map_or(text.clone(), |pipe| pipe.apply(&text))),
                Err(error) => failure(&error),
            }),
            ExecAction::Exec(command) => match executor.execute(&command) {
                Ok(Outcome::Done(text)) => Some(ok(text)),
                Ok(Outcome::Later) => None,
                Err(error) => Some(failure(&error)),
            },
        }
    }

    fn session_command(&mut self, command: SessionCommand, executor: &mut dyn Executor) -> Response {
        match command {
            SessionCommand::Enable if self.privilege < 15 => return self.enable(executor),
            SessionCommand::Disable => self.privilege = 1,
            SessionCommand::Configure => {
                if self.mode.is_none() {
                    return self.enter(executor);
                }
            }
            SessionCommand::Exit => self.closed = true,
            SessionCommand::TerminalLength(lines) => self.page = lines,
            SessionCommand::TerminalWidth(columns) => self.width = columns,
            SessionCommand::ShowPrivilege => {
                return ok(format!("Current privilege level is {}\n", self.privilege));
            }
            SessionCommand::ShowTerminal => {
                return ok(format!("Length: {} lines, Width: {} columns\n", self.page, self.width));
            }
            SessionCommand::Enable | SessionCommand::Nothing => {}
        }
        Response::default()
    }

    fn enable(&mut self, executor: &dyn Executor) -> Response {
        if executor.running().system.enable_secret.is_none() {
            return failure(&CommandError::Failed("% No password set".into()));
        }
        self.password = Some(ATTEMPTS);
        ok("Password: ".into())
    }

    fn check_password(&mut self, typed: &str, executor: &dyn Executor) -> Response {
        let Some(left) = self.password.take() else { return Response::default() };
        let secret = executor.running().system.enable_secret.as_ref();
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

    fn help(&mut self, line: &str, executor: &dyn Executor) -> Response {
        match self.expected(line) {
            Ok((entries, partial)) => ok(text::help(&entries, &partial)),
            Err(error) => self.parse_error(&error, line, self.mode.is_none(), executor),
        }
    }

    /// Words that may replace the last one of `line` (TAB).
    pub fn complete(&self, line: &str) -> Vec<String> {
        let Ok((entries, partial)) = self.expected(line) else { return Vec::new() };
        let keyword = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let words = entries.into_iter().map(|entry| entry.text);
        words.filter(|text| keyword(text) && text.starts_with(&partial.to_ascii_lowercase())).collect()
    }

    /// What may stand at the end of `line`, and the partial word there.
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

    fn parse_error(&self, error: &ParseError, line: &str, exec: bool, executor: &dyn Executor) -> Response {
        let (text, caret) = text::session_error(error, line, &self.prompt(executor), exec);
        Response { text, caret, status: Status::Usage, ..Response::default() }
    }

    fn pipe_error(&self, at: usize, error: &PipeError, line: &str, executor: &dyn Executor) -> Response {
        match error {
            PipeError::Keyword => {
                self.parse_error(&ParseError::Invalid { at, understood: 1 }, line, true, executor)
            }
            PipeError::Incomplete => {
                self.parse_error(&ParseError::Incomplete { understood: 1 }, line, true, executor)
            }
            PipeError::Expression(reason) => {
                let text = format!("% Invalid regular expression: {}\n", reason.lines().last().unwrap_or(""));
                Response { text, status: Status::Usage, ..Response::default() }
            }
        }
    }
}

/// Lets configuration lines ask the executor whether names resolve.
struct Resolver<'a>(&'a mut dyn Executor);

impl Environment for Resolver<'_> {
    fn resolves(&mut self, host: &str) -> bool {
        self.0.resolves(host)
    }

    fn import(&mut self, import: &Import) -> Result<Imported, ImportError> {
        self.0.import(import)
    }
}

fn show(command: &ShowCommand, executor: &mut dyn Executor) -> Result<String, CommandError> {
    match render_show::from_configuration(command, executor.running()) {
        Some(text) => Ok(text),
        None => executor.show(command),
    }
}

fn is_show(word: &str) -> bool {
    word.len() >= 2 && "show".starts_with(&word.to_ascii_lowercase())
}

type Split<'t, 'l> = (&'t [Token<'l>], Option<Pipe>);

/// Cuts a show command at its `|`. The error has the byte offset for the caret.
fn split_pipe<'t, 'l>(line: &str, words: &'t [Token<'l>]) -> Result<Split<'t, 'l>, (usize, PipeError)> {
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

fn ok(text: String) -> Response {
    Response { text, ..Response::default() }
}

fn refused(text: String) -> Response {
    Response { text: text + "\n", status: Status::Refused, ..Response::default() }
}

fn failure(error: &CommandError) -> Response {
    let (status, prefix, text) = match error {
        CommandError::Refused(text) => (Status::Refused, "%ERROR: ", text),
        CommandError::Failed(text) => (Status::Failed, "% ", text),
    };
    let prefix = if text.starts_with('%') { "" } else { prefix };
    Response { text: format!("{prefix}{text}\n"), status, ..Response::default() }
}
