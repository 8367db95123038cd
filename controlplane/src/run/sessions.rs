//! CLI sessions: each has its shell, and the answers of some come later.

use std::time::Duration;

use config::shell::{CommandError, Reply, Shell};

use super::{Finished, Running};
use crate::control::{ControlEvent, SessionId};
use crate::operator::{Errand, Operator};

/// How long an orderly stop waits for its answer to be read.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

impl Running {
    pub(super) async fn control(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Closed(session) => {
                self.shells.remove(&session);
                self.waiting.remove(&session);
            }
            ControlEvent::Request { session, request, answer } => {
                let now = self.now();
                let mut shell = self.shells.remove(&session).unwrap_or_else(|| Shell::new(1));
                let mut operator = self.operator(now);
                let reply = shell.handle(&request, &mut operator);
                let errand = operator.errand.take();
                self.shells.insert(session, shell);
                if std::mem::take(&mut self.kernel_is_stale) {
                    self.refresh_kernel().await;
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
                    None => {}
                }
            }
        }
    }

    fn operator(&mut self, now: Duration) -> Operator<'_> {
        Operator {
            brain: &mut self.brain,
            facts: &mut self.facts,
            now,
            kernel_is_stale: &mut self.kernel_is_stale,
            sessions: self.shells.len() + 1,
            errand: None,
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

    pub(super) fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Program(session, result) => {
                let (Some(mut shell), Some(answer)) =
                    (self.shells.remove(&session), self.waiting.remove(&session))
                else {
                    return;
                };
                let now = self.now();
                let response = shell.finish(result, &self.operator(now));
                self.shells.insert(session, shell);
                drop(answer.send(response));
            }
            Finished::Name(name, addresses) => {
                let now = self.now();
                self.brain.resolved(now, &name, &addresses);
            }
        }
    }
}
