//! Consecutive configuration lines that are committed together.

use super::dialogue::Job;
use super::session::Session;
use crate::Configuration;
use crate::commit::{NamedLists, settle_changes};
use crate::control::Response;
use crate::diff::diff;
use crate::edit::{EditError, Editor, KnownRules, Mode, Next, Question, Rest};

/// Lines applied to a candidate but not committed. Each already has its response, which is valid if
/// the candidate is committed as a whole.
#[derive(Debug)]
pub(super) struct Burst {
    /// The running configuration at the time of the first line.
    pub(super) base: Configuration,
    /// The session at the time of the first line.
    pub(super) start: Session,
    pub(super) draft: Draft,
    pub(super) held: Vec<(Job, Response)>,
}

impl Burst {
    pub(super) fn new(running: &Configuration, session: &Session) -> Self {
        let draft = Draft {
            configuration: running.clone(),
            known_rules: KnownRules::default(),
            named: NamedLists::default(),
        };
        Self { base: running.clone(), start: session.clone(), draft, held: Vec::new() }
    }
}

/// The candidate of a burst.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) configuration: Configuration,
    known_rules: KnownRules,
    named: NamedLists,
}

/// The result of a line.
pub(super) enum Applied {
    /// Applied to the candidate; the session's new mode and the text to print.
    Done(Mode, String),
    /// The candidate is unchanged. The session's new mode, if it changes.
    Refused(Option<Mode>, EditError),
    /// The session leaves configuration mode.
    Leave,
    /// The candidate is unchanged; the line needs an answer first.
    Ask(Question, Rest),
}

impl Draft {
    /// Applies a line to the candidate, completely or not at all.
    pub(super) fn apply(
        &mut self,
        mode: Mode,
        line: impl FnOnce(&mut Editor<'_>) -> Result<Next, EditError>,
    ) -> Applied {
        let collecting = mode.collects();
        let mut candidate = self.configuration.clone();
        let mut editor = Editor::new(&mut candidate, mode, false, &mut self.known_rules);
        let next = line(&mut editor);
        let (mode, mut notices) = (editor.mode, editor.notices);
        match next {
            Ok(Next::Stay) => {}
            Ok(Next::Leave) => return Applied::Leave,
            Ok(Next::Ask(question, rest)) => return Applied::Ask(question, rest),
            Err(error) => {
                self.known_rules = KnownRules::default();
                // Collected input that is rejected as a whole is discarded together with its mode.
                return Applied::Refused(collecting.then_some(mode), error);
            }
        }
        let changes = diff(&self.configuration, &candidate);
        match settle_changes(&self.configuration, &mut candidate, &changes, &mut self.named) {
            Ok(notes) => notices.extend(notes),
            Err(error) => {
                self.known_rules = KnownRules::default();
                return Applied::Refused(None, error);
            }
        }
        self.configuration = candidate;
        Applied::Done(mode, notices.iter().map(|notice| format!("{notice}\n")).collect())
    }
}
