//! A CLI session as a state machine: requests in, responses and actions out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::ask::{Ask, Baselines, CommandError, Commit, Told, Turn};
use super::burst::{Applied, Burst};
use super::pipe::Pipe;
use super::session::{Session, failure, ok, refused, split_pipe};
use crate::Configuration;
use crate::command::{ExecCommand, ShowCommand};
use crate::commit::{self, Review};
use crate::control::{Format, Request, Response, Status};
use crate::diff::diff;
use crate::edit::{self, Answer, Mode, Next, Question, Rest, Step};
use crate::exec::{self, ExecAction, SessionCommand};
use crate::render_show;
use crate::tree::{Token, tokens};

/// Maximum line length in bytes.
pub const MAX_LINE: usize = 4096;

/// A CLI session.
///
/// The owner of the running configuration passes requests ([`Shell::request`]), carries out what
/// each [`Turn`] asks for and passes the result ([`Shell::told`]), until a turn asks for nothing.
/// Configuration lines are applied to a candidate, and their responses are returned at the commit:
/// when no further request is waiting, the owner calls [`Shell::flush`]. If another session changes
/// the running configuration while lines are held ([`Shell::holds_lines`]), they are applied to it
/// again.
pub struct Shell {
    session: Session,
    /// Requests not yet started: lines of a block, and lines that are committed again one by one.
    queue: VecDeque<Job>,
    burst: Option<Burst>,
    state: State,
    /// The action that follows the commit in progress.
    behind: Option<(Job, Act)>,
    /// Unanswered blocks, in the order of their requests.
    blocks: VecDeque<Block>,
    replies: Vec<Response>,
}

/// A request, or a line of a block.
#[derive(Debug)]
pub(super) struct Job {
    request: Request,
    /// The number of its block.
    block: Option<u64>,
    /// It is committed before the next request is started.
    alone: bool,
}

/// A block of lines with the responses so far.
#[derive(Debug)]
struct Block {
    number: u64,
    /// Number of lines without a response.
    left: usize,
    /// The first error ends the block.
    stops: bool,
    replies: Vec<Response>,
}

/// What the session waits for.
enum State {
    /// The next request.
    Ready,
    /// The commit of the burst.
    Committing,
    /// The owner's acknowledgement of [`Ask::Abandoned`], after which the session is opened again.
    Opening {
        job: Job,
        width: u16,
        privilege: u8,
    },
    Entering {
        job: Job,
        before: Arc<Configuration>,
    },
    /// The baselines of other sessions.
    Reviewing(Job),
    /// The commit of restored objects when configuration mode is left.
    PuttingBack {
        job: Job,
        review: Review,
    },
    Leaving {
        job: Job,
        review: Review,
    },
    /// The answer that a configuration line needs.
    Asking {
        job: Job,
        mode: Mode,
        step: Box<Step>,
        rest: Rest,
    },
    Showing {
        job: Job,
        pipe: Option<Pipe>,
    },
    Executing(Job),
}

/// How a request continues.
enum Reaction {
    /// Completed; its changes are in the session and in the burst.
    Answer(Response),
    /// To be carried out after the burst is committed.
    Act(Act),
}

enum Act {
    Open { width: u16, privilege: u8 },
    Enter,
    Leave,
    Enable,
    Password(String),
    Ask { mode: Mode, step: Box<Step>, question: Question, rest: Rest },
    Show { command: ShowCommand, pipe: Option<Pipe>, json: bool },
    Execute(ExecCommand),
}

/// The result for held lines.
enum Flushed {
    /// They have their responses.
    Answered,
    /// They have their responses, or are queued again to be committed one by one.
    Refused,
    Ask(Ask),
}

impl Shell {
    /// A session in exec mode at `privilege` (0–15); from level 2 on the prompt is `#`.
    pub fn new(privilege: u8) -> Self {
        Self {
            session: Session::new(privilege),
            queue: VecDeque::new(),
            burst: None,
            state: State::Ready,
            behind: None,
            blocks: VecDeque::new(),
            replies: Vec::new(),
        }
    }

    /// True while the session is in a configuration mode.
    pub fn is_configuring(&self) -> bool {
        self.session.mode.is_some()
    }

    /// Whether there are lines without a response, which [`Shell::flush`] commits.
    pub fn holds_lines(&self) -> bool {
        self.burst.is_some()
    }

    /// Whether lines that could not be committed together are being committed one by one.
    pub fn retries_lines(&self) -> bool {
        self.queue.front().is_some_and(|job| job.alone)
    }

    /// The prompt, as `R1(config-crypto-map)#`.
    pub fn prompt(&self, running: &Configuration) -> String {
        self.session.prompt(self.current(running))
    }

    /// Words that may replace the last one of `line` (TAB).
    pub fn complete(&self, line: &str) -> Vec<String> {
        self.session.complete(line)
    }

    /// Starts a request; not allowed while an [`Ask`] is pending. The response may come in a later
    /// turn.
    pub fn request(&mut self, request: Request, running: &Configuration) -> Turn {
        let job = |request, block| Job { request, block, alone: false };
        let line = |line| Request::Line { line, format: Format::Text };
        match request {
            Request::Block { lines, stops } if !lines.is_empty() => {
                let number = self.blocks.back().map_or(0, |block| block.number + 1);
                self.blocks.push_back(Block { number, left: lines.len(), stops, replies: Vec::new() });
                self.queue.extend(lines.into_iter().map(|text| job(line(text), Some(number))));
            }
            Request::Block { .. } => self.queue.push_back(job(line(String::new()), None)),
            request => self.queue.push_back(job(request, None)),
        }
        self.advance(running)
    }

    /// Commits the held lines. To be called when no further request is waiting.
    pub fn flush(&mut self, running: &Configuration) -> Turn {
        match self.commit(running) {
            Flushed::Ask(ask) => self.turn(Some(ask)),
            Flushed::Answered | Flushed::Refused => self.advance(running),
        }
    }

    /// Continues with the result of an [`Ask`]. `running` is the current running configuration.
    pub fn told(&mut self, told: Told, running: &Configuration) -> Turn {
        let ask = match (std::mem::replace(&mut self.state, State::Ready), told) {
            (State::Committing, Told::Committed(result)) => self.committed(result, running),
            (State::Opening { job, width, privilege }, Told::Noted) => {
                self.open(job, width, privilege, running);
                None
            }
            (State::Entering { job, before }, Told::Entered(note)) => {
                (self.session.mode, self.session.before) = (Some(Mode::Global), Some(before));
                let text =
                    "Enter configuration commands, one per line.  End with CNTL/Z.\n".to_owned() + &note;
                self.answer(job, ok(text), running);
                None
            }
            (State::Reviewing(job), Told::Baselines(baselines)) => self.review(job, &baselines, running),
            (State::PuttingBack { job, review }, Told::Committed(Ok(()))) => Some(self.leave(job, review)),
            (State::PuttingBack { job, .. }, Told::Committed(Err(error))) => {
                self.answer(job, failure(&error), running);
                None
            }
            (State::Leaving { job, review }, Told::Noted) => {
                let status = if review.refused.is_empty() { Status::Ok } else { Status::Refused };
                let response = Response { text: review.text(), status, ..Response::default() };
                self.answer(job, response, running);
                None
            }
            (State::Asking { job, mode, step, rest }, Told::Resolved(resolves)) => {
                self.resume(job, mode, &step, rest, Answer::Resolves(resolves), running)
            }
            (State::Asking { job, mode, step, rest }, Told::Imported(imported)) => {
                self.resume(job, mode, &step, rest, Answer::Imported(imported), running)
            }
            (State::Showing { job, pipe }, Told::Shown(result)) => {
                self.shown(job, pipe.as_ref(), result, running);
                None
            }
            (State::Showing { job, .. }, Told::Json(result)) => {
                let response = match result {
                    Ok(value) => {
                        let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
                        Response { text, json: Some(value), ..Response::default() }
                    }
                    Err(error) => failure(&error),
                };
                self.answer(job, response, running);
                None
            }
            (State::Executing(job), Told::Executed(result)) => {
                let response = result.map_or_else(|error| failure(&error), ok);
                self.answer(job, response, running);
                None
            }
            // Not the result of the pending request: keep waiting.
            (state, _) => {
                self.state = state;
                return Turn::default();
            }
        };
        match ask {
            Some(ask) => self.turn(Some(ask)),
            None => self.advance(running),
        }
    }

    fn turn(&mut self, ask: Option<Ask>) -> Turn {
        Turn { replies: std::mem::take(&mut self.replies), ask }
    }

    /// The configuration as seen by the session: the candidate, or the running one.
    fn current<'c>(&'c self, running: &'c Configuration) -> &'c Configuration {
        self.burst.as_ref().map_or(running, |burst| &burst.draft.configuration)
    }

    /// Starts queued requests until an [`Ask`] is pending.
    fn advance(&mut self, running: &Configuration) -> Turn {
        while let Some(job) = self.queue.pop_front() {
            let alone = job.alone;
            let mut ask = self.begin(job, running);
            if ask.is_none() && alone {
                ask = match self.commit(running) {
                    Flushed::Ask(ask) => Some(ask),
                    Flushed::Answered | Flushed::Refused => None,
                };
            }
            if ask.is_some() {
                return self.turn(ask);
            }
        }
        self.turn(None)
    }

    fn begin(&mut self, job: Job, running: &Configuration) -> Option<Ask> {
        let act = match self.react(&job.request, running) {
            Reaction::Answer(response) => {
                self.answer(job, response, running);
                return None;
            }
            Reaction::Act(act) => act,
        };
        match self.commit(running) {
            Flushed::Answered => self.act(job, act, running),
            // The session may be in another mode after the lines before this one have been
            // committed one by one.
            Flushed::Refused => {
                self.queue_behind_retried(job);
                None
            }
            Flushed::Ask(ask) => {
                self.behind = Some((job, act));
                Some(ask)
            }
        }
    }

    fn queue_behind_retried(&mut self, job: Job) {
        let place = self.queue.iter().take_while(|queued| queued.alone).count();
        self.queue.insert(place, job);
    }

    /// Returns the response of a request: at once, or with the commit of the lines before it.
    fn answer(&mut self, job: Job, response: Response, running: &Configuration) {
        let response = self.session.complete_response(response, self.current(running));
        self.stop_block(&job, &response);
        match &mut self.burst {
            Some(burst) => burst.held.push((job, response)),
            None => self.deliver(&job, response),
        }
    }

    /// Drops the rest of a block if this response ends it.
    fn stop_block(&mut self, job: &Job, response: &Response) {
        let Some(block) = self.blocks.iter_mut().find(|block| Some(block.number) == job.block) else {
            return;
        };
        if response.closed || response.password || (block.stops && !response.status.is_ok()) {
            let queued = self.queue.len();
            self.queue.retain(|queued| queued.block != job.block);
            block.left -= queued - self.queue.len();
        }
    }

    fn deliver(&mut self, job: &Job, response: Response) {
        let Some(block) = self.blocks.front_mut().filter(|block| Some(block.number) == job.block) else {
            self.replies.push(response);
            return;
        };
        block.replies.push(response);
        block.left = block.left.saturating_sub(1);
        if block.left > 0 {
            return;
        }
        let replies = self.blocks.pop_front().map(|block| block.replies).unwrap_or_default();
        let failed = replies.iter().map(|reply| reply.status).find(|status| !status.is_ok());
        let last = replies.last().cloned().unwrap_or_default();
        self.replies.push(Response {
            text: String::new(),
            status: failed.unwrap_or_default(),
            caret: None,
            json: None,
            replies,
            ..last
        });
    }

    /// Commits the burst.
    fn commit(&mut self, running: &Configuration) -> Flushed {
        let Some(burst) = &self.burst else { return Flushed::Answered };
        let candidate = &burst.draft.configuration;
        let changes = diff(&burst.base, candidate);
        if changes.is_empty() {
            self.deliver_held();
            return Flushed::Answered;
        }
        if let Err(error) = commit::check_limits(candidate) {
            self.refuse_burst(refused(error.0), running);
            return Flushed::Refused;
        }
        if burst.base != *running {
            self.retry_burst();
            return Flushed::Refused;
        }
        let commit = Commit { configuration: candidate.clone(), changes };
        self.state = State::Committing;
        Flushed::Ask(Ask::Commit(commit))
    }

    fn committed(&mut self, result: Result<(), CommandError>, running: &Configuration) -> Option<Ask> {
        let behind = self.behind.take();
        match result {
            Ok(()) => {
                self.deliver_held();
                behind.and_then(|(job, act)| self.act(job, act, running))
            }
            Err(error) => {
                self.refuse_burst(failure(&error), running);
                behind.into_iter().for_each(|(job, _)| self.queue_behind_retried(job));
                None
            }
        }
    }

    fn deliver_held(&mut self) {
        let held = self.burst.take().map(|burst| burst.held).unwrap_or_default();
        for (job, response) in held {
            self.deliver(&job, response);
        }
    }

    /// The candidate was rejected. For a single line this is its response; otherwise the lines are
    /// committed one by one, so that each gets its own.
    fn refuse_burst(&mut self, response: Response, running: &Configuration) {
        if self.burst.as_ref().is_some_and(|burst| burst.held.len() > 1) {
            return self.retry_burst();
        }
        let Some(burst) = self.burst.take() else { return };
        self.session = burst.start;
        for (job, _) in burst.held {
            self.answer(job, response.clone(), running);
        }
    }

    fn retry_burst(&mut self) {
        let Some(burst) = self.burst.take() else { return };
        self.session = burst.start;
        for (job, _) in burst.held.into_iter().rev() {
            self.queue.push_front(Job { alone: true, ..job });
        }
    }

    fn react(&mut self, request: &Request, running: &Configuration) -> Reaction {
        match request {
            Request::Open { width, privilege } => {
                Reaction::Act(Act::Open { width: *width, privilege: *privilege })
            }
            Request::Line { line, format } => self.line(line, *format, running),
            Request::Help { line } => Reaction::Answer(self.session.help(line, self.current(running))),
            Request::Complete { line } => {
                let completions = self.session.complete(line);
                Reaction::Answer(Response { completions, ..Response::default() })
            }
            Request::End if self.is_configuring() => Reaction::Act(Act::Leave),
            Request::Password { text } => Reaction::Act(Act::Password(text.clone())),
            // A block has already been split into lines.
            Request::End | Request::Block { .. } => Reaction::Answer(Response::default()),
        }
    }

    fn line(&mut self, line: &str, format: Format, running: &Configuration) -> Reaction {
        if line.len() > MAX_LINE {
            let text = format!("%ERROR: line longer than {MAX_LINE} characters; split it\n");
            return Reaction::Answer(Response { text, status: Status::Usage, ..Response::default() });
        }
        // Some clients send NUL as a keep-alive: it takes no column.
        let clean: String = line
            .trim_end_matches(['\r', '\n'])
            .chars()
            .filter(|c| *c != '\0')
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let words = tokens(&clean);
        match (&self.session.mode, words.first()) {
            (_, None) => Reaction::Answer(Response::default()),
            (_, Some(first)) if first.text.starts_with('!') => Reaction::Answer(Response::default()),
            (Some(_), Some(first)) if words.len() > 1 && first.text.eq_ignore_ascii_case("do") => {
                self.exec(&clean, &words[1..], format, running)
            }
            (Some(mode), Some(_)) => {
                let mode = mode.clone();
                self.configure(mode, &clean, &words, running)
            }
            // Pasted configurations end with it. It is not in the command tree of exec mode, where
            // it would make "en" ambiguous.
            (None, Some(first)) if words.len() == 1 && first.text.eq_ignore_ascii_case("end") => {
                Reaction::Answer(Response::default())
            }
            (None, Some(_)) => self.exec(&clean, &words, format, running),
        }
    }

    fn configure(
        &mut self,
        mode: Mode,
        line: &str,
        words: &[Token<'_>],
        running: &Configuration,
    ) -> Reaction {
        let step = match edit::parse(&mode, line, words) {
            Ok(step) => step,
            Err(error) => {
                let current = self.current(running);
                return Reaction::Answer(self.session.parse_error(&error, line, false, current));
            }
        };
        let burst = self.burst.get_or_insert_with(|| Burst::new(running, &self.session));
        match burst.draft.apply(mode.clone(), |editor| step.apply(editor)) {
            Applied::Leave => Reaction::Act(Act::Leave),
            Applied::Ask(question, rest) => {
                Reaction::Act(Act::Ask { mode, step: Box::new(step), question, rest })
            }
            applied => Reaction::Answer(self.applied(applied)),
        }
    }

    /// The response of a line that was applied or rejected.
    fn applied(&mut self, applied: Applied) -> Response {
        match applied {
            Applied::Done(mode, text) => {
                self.session.mode = Some(mode);
                ok(text)
            }
            Applied::Refused(mode, error) => {
                if mode.is_some() {
                    self.session.mode = mode;
                }
                refused(error.0)
            }
            // A command asks only once, and leaving needs no answer.
            Applied::Leave | Applied::Ask(..) => Response::default(),
        }
    }

    fn exec(&mut self, line: &str, words: &[Token<'_>], format: Format, running: &Configuration) -> Reaction {
        let current = self.burst.as_ref().map_or(running, |burst| &burst.draft.configuration);
        let (words, pipe) = match split_pipe(line, words) {
            Ok(split) => split,
            Err((at, error)) => return Reaction::Answer(self.session.pipe_error(at, &error, line, current)),
        };
        let (form, rest) = edit::form_of(words);
        let matched = match exec::tree(self.session.privilege).parse(line, rest, form) {
            Ok(matched) => matched,
            Err(error) => return Reaction::Answer(self.session.parse_error(&error, line, true, current)),
        };
        match (matched.action)(&matched.args) {
            ExecAction::Session(command) => self.session_command(command),
            ExecAction::Show(command) => {
                let json = format == Format::Json || matches!(pipe, Some(Pipe::Json));
                Reaction::Act(Act::Show { command, pipe, json })
            }
            ExecAction::Exec(command) => Reaction::Act(Act::Execute(command)),
        }
    }

    fn session_command(&mut self, command: SessionCommand) -> Reaction {
        let session = &mut self.session;
        match command {
            SessionCommand::Enable if session.privilege < 15 => return Reaction::Act(Act::Enable),
            SessionCommand::Configure if session.mode.is_none() => return Reaction::Act(Act::Enter),
            SessionCommand::Disable => session.privilege = 1,
            SessionCommand::Exit => session.closed = true,
            SessionCommand::TerminalLength(lines) => session.page = lines,
            SessionCommand::TerminalWidth(columns) => session.width = columns,
            SessionCommand::ShowPrivilege => {
                return Reaction::Answer(ok(format!("Current privilege level is {}\n", session.privilege)));
            }
            SessionCommand::ShowTerminal => {
                let text = format!("Length: {} lines, Width: {} columns\n", session.page, session.width);
                return Reaction::Answer(ok(text));
            }
            SessionCommand::Enable | SessionCommand::Configure | SessionCommand::Nothing => {}
        }
        Reaction::Answer(Response::default())
    }

    /// Carries out the action that follows the commit of held lines.
    fn act(&mut self, job: Job, act: Act, running: &Configuration) -> Option<Ask> {
        let (state, ask) = match act {
            Act::Open { width, privilege } if self.is_configuring() => {
                (State::Opening { job, width, privilege }, Ask::Abandoned)
            }
            Act::Open { width, privilege } => {
                self.open(job, width, privilege, running);
                return None;
            }
            Act::Enter => {
                let before = Arc::new(running.clone());
                (State::Entering { job, before: Arc::clone(&before) }, Ask::Entered(before))
            }
            Act::Leave => (State::Reviewing(job), Ask::Baselines),
            Act::Enable => {
                let response = self.session.enable(running);
                self.answer(job, response, running);
                return None;
            }
            Act::Password(text) => {
                let response = self.session.check_password(&text, running);
                self.answer(job, response, running);
                return None;
            }
            Act::Ask { mode, step, question, rest } => {
                let ask = match question {
                    Question::Resolves(host) => Ask::Resolve(host),
                    Question::Import(import) => Ask::Import(import),
                };
                (State::Asking { job, mode, step, rest }, ask)
            }
            Act::Show { command, json: true, .. } => {
                (State::Showing { job, pipe: None }, Ask::ShowJson(command))
            }
            Act::Show { command, pipe, json: false } => {
                if let Some(text) = render_show::from_configuration(&command, running) {
                    self.shown(job, pipe.as_ref(), Ok(text), running);
                    return None;
                }
                (State::Showing { job, pipe }, Ask::Show(command))
            }
            Act::Execute(command) => (State::Executing(job), Ask::Execute(command)),
        };
        self.state = state;
        Some(ask)
    }

    fn open(&mut self, job: Job, width: u16, privilege: u8, running: &Configuration) {
        self.session = Session { width, ..Session::new(privilege) };
        self.answer(job, Response::default(), running);
    }

    fn shown(
        &mut self,
        job: Job,
        pipe: Option<&Pipe>,
        result: Result<String, CommandError>,
        running: &Configuration,
    ) {
        let response = match result {
            Ok(text) => ok(pipe.map_or_else(|| text.clone(), |pipe| pipe.apply(&text))),
            Err(error) => failure(&error),
        };
        self.answer(job, response, running);
    }

    /// Applies a line after its question was answered, to the current running configuration, and
    /// commits it.
    fn resume(
        &mut self,
        job: Job,
        mode: Mode,
        step: &Step,
        rest: Rest,
        answer: Answer,
        running: &Configuration,
    ) -> Option<Ask> {
        let burst = self.burst.insert(Burst::new(running, &self.session));
        let applied =
            burst.draft.apply(mode, |editor| step.resume(editor, rest, answer).map(|()| Next::Stay));
        let response = self.applied(applied);
        self.answer(job, response, running);
        match self.commit(running) {
            Flushed::Ask(ask) => Some(ask),
            Flushed::Answered | Flushed::Refused => None,
        }
    }

    /// Leaves configuration mode: required objects are restored first, and traffic that is no
    /// longer protected is reported. If the restoration cannot be committed, the session stays in
    /// configuration mode and the protection is unchanged.
    fn review(&mut self, job: Job, baselines: &Baselines, running: &Configuration) -> Option<Ask> {
        let own = self.session.before.clone();
        let all: Vec<&Configuration> = own.iter().chain(&baselines.cut).map(AsRef::as_ref).collect();
        let others: Vec<&Configuration> = baselines.open.iter().map(AsRef::as_ref).collect();
        let mut candidate = running.clone();
        let review = commit::review_edits(&all, &mut candidate, &others);
        if let Err(error) = commit::settle(&mut candidate) {
            self.answer(job, refused(error.0), running);
            return None;
        }
        let changes = diff(running, &candidate);
        if changes.is_empty() {
            return Some(self.leave(job, review));
        }
        self.state = State::PuttingBack { job, review };
        Some(Ask::Commit(Commit { configuration: candidate, changes }))
    }

    fn leave(&mut self, job: Job, review: Review) -> Ask {
        (self.session.mode, self.session.before) = (None, None);
        let lost = review.lost.clone();
        self.state = State::Leaving { job, review };
        Ask::Left(lost)
    }
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").field("session", &self.session).finish_non_exhaustive()
    }
}
