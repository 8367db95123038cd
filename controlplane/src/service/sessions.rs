//! CLI sessions: each has its shell; responses may be delayed by work in progress.

use std::collections::VecDeque;
use std::time::Duration;

use config::control::Request;
use config::shell::{CommandError, Shell, Told};
use tokio::sync::oneshot;

use super::{Finished, Running, ServiceError};
use crate::control::{Answer, ControlEvent, SessionId};
use crate::operator::{Operator, Progress, Work};

/// How long an orderly stop waits for its response to be read.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// A CLI session.
pub(super) struct Dialogue {
    shell: Shell,
    /// Requests not yet passed to the shell.
    requests: VecDeque<(Request, Answer)>,
    /// Response channels of requests in progress, in order.
    answers: VecDeque<Answer>,
    /// The session's state.
    state: State,
}

enum State {
    /// Ready for requests.
    Ready,
    /// A line was committed and more are to follow; the main loop runs in between.
    Committed(Told),
    /// Waiting for a program or for name resolution.
    Working,
}

impl Dialogue {
    fn new() -> Self {
        Dialogue {
            shell: Shell::new(1),
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            state: State::Ready,
        }
    }

    /// Executes the next step: a result, a request, or the end of the requests.
    fn step(&mut self, operator: &mut Operator<'_>) -> Option<Progress> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Committed(told) => return Some(operator.tell(&mut self.shell, told)),
            State::Working => {
                self.state = State::Working;
                return None;
            }
            State::Ready => {}
        }
        match self.requests.pop_front() {
            Some((request, answer)) => {
                self.answers.push_back(answer);
                Some(operator.request(&mut self.shell, request))
            }
            None if self.shell.holds_lines() => Some(operator.flush(&mut self.shell)),
            None => None,
        }
    }
}

impl Running {
    pub(super) async fn control(&mut self, event: ControlEvent) -> Result<(), ServiceError> {
        match event {
            ControlEvent::Closed(session) => {
                self.sessions.remove(&session);
                self.gateway.abandon_edit(session.0);
                self.carry_out().await;
                Ok(())
            }
            ControlEvent::Requests { session, requests } => {
                let mut dialogue = self.sessions.remove(&session).unwrap_or_else(Dialogue::new);
                dialogue.requests.extend(requests);
                self.go_on(session, dialogue, Progress::default()).await
            }
        }
    }

    /// Continues a session until it is idle, waits for work, or has to let the main loop run.
    async fn go_on(
        &mut self,
        session: SessionId,
        mut dialogue: Dialogue,
        mut progress: Progress,
    ) -> Result<(), ServiceError> {
        loop {
            let written = self.send(&mut dialogue, &mut progress).await?;
            match progress.work {
                Some(Work::Run { program, arguments }) => {
                    dialogue.state = State::Working;
                    self.spawn(session, program, arguments);
                }
                Some(Work::LookUp(name)) => {
                    dialogue.state = State::Working;
                    self.look_up(session, name);
                }
                Some(Work::Reload) => {
                    // A client that does not read its response must not delay the exit of the
                    // process.
                    if let Some(written) = written {
                        let _ = tokio::time::timeout(ANSWER_PATIENCE, written).await;
                    }
                    self.stop = true;
                    return Ok(());
                }
                None => {}
            }
            if let Some(told) = progress.committed {
                dialogue.state = State::Committed(told);
                self.sessions.insert(session, dialogue);
                self.turning.push_back(session);
                return Ok(());
            }
            let now = self.now();
            match dialogue.step(&mut self.operator(now, session)) {
                Some(next) => progress = next,
                None => {
                    self.sessions.insert(session, dialogue);
                    return Ok(());
                }
            }
        }
    }

    /// Continues the session that has waited longest for its next turn.
    pub(super) async fn turn_session(&mut self) -> Result<(), ServiceError> {
        let Some(session) = self.turning.pop_front() else { return Ok(()) };
        match self.sessions.remove(&session) {
            Some(dialogue) => self.go_on(session, dialogue, Progress::default()).await,
            None => Ok(()),
        }
    }

    /// Sends the pending responses, once the kernel reflects the configuration that they report.
    /// The receiver completes when the last one has been written.
    async fn send(
        &mut self,
        dialogue: &mut Dialogue,
        progress: &mut Progress,
    ) -> Result<Option<oneshot::Receiver<()>>, ServiceError> {
        if std::mem::take(&mut self.kernel_is_stale) {
            self.refresh_kernel().await?;
        }
        if progress.replies.is_empty() {
            return Ok(None);
        }
        self.carry_out().await;
        let mut written = None;
        for response in progress.replies.drain(..) {
            // Requests after the end of the session are not executed.
            if response.closed {
                dialogue.requests.clear();
            }
            written = dialogue.answers.pop_front().map(|answer| answer.send(response));
        }
        Ok(written)
    }

    fn look_up(&self, session: SessionId, name: String) {
        let (work, service) = (self.work.clone(), self.name_service());
        tokio::task::spawn_local(async move {
            let found = service.resolve(&name).await;
            let _ = work.send(Finished::Typed(session, name, found)).await;
        });
    }

    fn operator(&mut self, now: Duration, session: SessionId) -> Operator<'_> {
        Operator {
            gateway: &mut self.gateway,
            facts: &mut self.facts,
            now,
            kernel_is_stale: &mut self.kernel_is_stale,
            sessions: self.sessions.len() + 1,
            session: session.0,
        }
    }

    fn spawn(&self, session: SessionId, program: &'static str, arguments: Vec<String>) {
        let work = self.work.clone();
        tokio::task::spawn_local(async move {
            let output = tokio::task::spawn_blocking(move || {
                std::process::Command::new(program)
                    .args(arguments)
                    .stdin(std::process::Stdio::null())
                    .output()
            });
            let failed = |error: &dyn std::fmt::Display| {
                CommandError::Failed(format!("{program}: {error}; is it installed?"))
            };
            let text = match output.await {
                Ok(Ok(output)) => {
                    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
                    text.push_str(&String::from_utf8_lossy(&output.stderr));
                    Ok(text)
                }
                Ok(Err(error)) => Err(failed(&error)),
                Err(error) => Err(failed(&error)),
            };
            let _ = work.send(Finished::Program(session, text)).await;
        });
    }

    pub(super) async fn finished(&mut self, finished: Finished) -> Result<(), ServiceError> {
        let now = self.now();
        match finished {
            Finished::Program(session, result) => {
                let Some(mut dialogue) = self.sessions.remove(&session) else { return Ok(()) };
                dialogue.state = State::Ready;
                let told = Told::Executed(result);
                let progress = self.operator(now, session).tell(&mut dialogue.shell, told);
                self.go_on(session, dialogue, progress).await
            }
            Finished::Typed(session, name, found) => {
                let Some(mut dialogue) = self.sessions.remove(&session) else { return Ok(()) };
                dialogue.state = State::Ready;
                let progress = self.operator(now, session).looked_up(&mut dialogue.shell, &name, &found);
                self.go_on(session, dialogue, progress).await
            }
            Finished::Name(name, answer) => {
                self.gateway.resolved(now, &name, answer);
                Ok(())
            }
        }
    }
}
