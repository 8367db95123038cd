//! `crypto ipsec transform-set` mode.

use super::{ConfigCommand, EditError, Editor, Mode as EditMode, apply};
use crate::model::{Mode, TransformSet};
use crate::tree::Args;

pub(super) const COMMANDS: &[ConfigCommand] =
    &[apply("mode / {tunnel | transport [require]}", mode), apply("esn /", esn)];

fn set<'a>(editor: &'a mut Editor<'_>) -> Option<&'a mut TransformSet> {
    match &editor.mode {
        EditMode::TransformSet(name) => editor.configuration.transform_sets.get_mut(name),
        _ => None,
    }
}

fn mode(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let mode = match (args.negated(), args.has("transport"), args.has("require")) {
        (true, ..) | (_, false, _) => Mode::Tunnel,
        (false, true, true) => Mode::TransportRequire,
        (false, true, false) => Mode::Transport,
    };
    if let Some(set) = set(editor) {
        set.mode = mode;
    }
    Ok(())
}

fn esn(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if let Some(set) = set(editor) {
        set.esn = !args.negated();
    }
    Ok(())
}
