//! CLI sessions: each has its shell, and the answers of some come later.

use std::time::Duration;

use config::control::Request;
use config::shell::{CommandError, Reply, Shell};

use super::{Finished, Running, ServiceError};
use crate::control::{Answer, ControlEvent, SessionId};
use crate::operator::{Errand, LookedUp, Operator};

/// How long an orderly stop waits for its answer to be read.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

impl Running {
    pub(super) async fn control(&mut self, event: ControlEvent) -> Result<(), ServiceError> {
        match event {
            ControlEvent::Closed(session) => {
                self.shells.remove(&session);
                self.waiting.remove(&session);
                self.brain.abandon_edit(session.0);
                self.carry_out().await;
                Ok(())
            }
            ControlEvent::Request { session, request, answer } => {
                self.request(session, request, answer, None).await
            }
        }
    }

    /// Executes a request. `looked_up` is the answer to the name that it needed when it was executed before.
    async fn request(
        &mut self,
        session: SessionId,
        request: Request,
        answer: Answer,
        looked_up: Option<LookedUp>,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        let mut shell = self.shells.remove(&session).unwrap_or_else(|| Shell::new(1));
        let before = shell.clone();
        let mut operator = self.operator(now, session);
        operator.looked_up = looked_up;
        let reply = shell.handle(&request, &mut operator);
        let errand = operator.errand.take();
        if let Some(Errand::Resolve(name)) = errand {
            // Nothing has changed: the line waits for the name service and begins anew with its answer.
            self.shells.insert(session, before);
            self.waiting.insert(session, answer);
            self.look_up(session, request, name);
            return Ok(());
        }
        self.shells.insert(session, shell);
        if std::mem::take(&mut self.kernel_is_stale) {
            self.refresh_kernel().await?;
        }
        self.carry_out().await;
        let written = match reply {
            Reply::Now(response) => Some(answer.send(response)),
            Reply::Later => {
                self.waiting.insert(session, answer);
                None
            }
        };
        match errand {
            Some(Errand::Run { program, arguments }) => self.spawn(session, program, arguments),
            Some(Errand::Reload) => {
                // A client that does not read its answer does not keep the process from ending.
                if let Some(written) = written {
                    let _ = tokio::time::timeout(ANSWER_PATIENCE, written).await;
                }
                self.stop = true;
            }
            Some(Errand::Resolve(_)) | None => {}
        }
        Ok(())
    }

    fn look_up(&self, session: SessionId, request: Request, name: String) {
        let (errands, service) = (self.errands.clone(), self.name_service());
        tokio::task::spawn_local(async move {
            let found = service.resolve(&name).await;
            let _ = errands.send(Finished::Typed(session, request, name, found)).await;
        });
    }

    fn operator(&mut self, now: Duration, session: SessionId) -> Operator<'_> {
        Operator {
            brain: &mut self.brain,
            facts: &mut self.facts,
            now,
            kernel_is_stale: &mut self.kernel_is_stale,
            sessions: self.shells.len() + 1,
            session: session.0,
            errand: None,
            looked_up: None,
        }
    }

    fn spawn(&self, session: SessionId, program: &'static str, arguments: Vec<String>) {
        let errands = self.errands.clone();
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
            let _ = errands.send(Finished::Program(session, text)).await;
        });
    }

    pub(super) async fn finished(&mut self, finished: Finished) -> Result<(), ServiceError> {
        match finished {
            Finished::Program(session, result) => {
                let (Some(mut shell), Some(answer)) =
                    (self.shells.remove(&session), self.waiting.remove(&session))
                else {
                    return Ok(());
                };
                let now = self.now();
                let response = shell.finish(result, &self.operator(now, session));
                self.shells.insert(session, shell);
                drop(answer.send(response));
            }
            Finished::Name(name, answer) => {
                let now = self.now();
                self.brain.resolved(now, &name, answer);
            }
            Finished::Typed(session, request, name, found) => {
                if let Some(answer) = self.waiting.remove(&session) {
                    self.request(session, request, answer, Some((name, found))).await?;
                }
            }
        }
        Ok(())
    }
}
