//! `line …` mode.

use super::{Action, ConfigCommand, EditError, Editor, Mode, apply, keep};
use crate::Configuration;
use crate::model::Line;
use crate::tree::Args;

pub(super) const COMMANDS: &[ConfigCommand] = &[
    apply("exec-timeout / <minutes:0-35791> [<seconds:0-2147483>]", exec_timeout),
    apply("login local /", login_local),
    keep("login /", kept),
    keep("logging synchronous /", kept),
    keep("transport {input | output | preferred} / {all | none | ssh | telnet}", kept),
    keep("privilege level / <level:0-15>", kept),
    keep("length / <lines:0-512>", kept),
    keep("width / <columns:0-512>", kept),
    keep("stopbits / <bits:1-2>", kept),
    keep("history size / <lines:0-256>", kept),
    ConfigCommand { syntax: "password / <password:LINE>", action: Action::Apply(password) },
];

fn line<'a>(editor: &'a mut Editor<'_>) -> Option<&'a mut Line> {
    match &editor.mode {
        Mode::Line(name) => editor.configuration.system.lines.get_mut(name),
        _ => None,
    }
}

fn kept<'c>(configuration: &'c mut Configuration, mode: &Mode) -> Option<&'c mut Vec<String>> {
    match mode {
        Mode::Line(name) => configuration.system.lines.get_mut(name).map(|line| &mut line.kept),
        _ => None,
    }
}

fn exec_timeout(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let minutes = args.small("minutes").filter(|_| !args.negated());
    let seconds = args.small("seconds").unwrap_or(0);
    if let Some(line) = line(editor) {
        line.exec_timeout = minutes.map(|minutes| (minutes, seconds));
    }
    Ok(())
}

fn login_local(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let on = !args.negated();
    if let Some(line) = line(editor) {
        line.login_local = on;
    }
    Ok(())
}

/// IOS stores line passwords in a reversible form, so they are rejected rather than stored.
fn password(_: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    if args.negated() {
        return Ok(());
    }
    Err(EditError::rule("line passwords are not kept; use \"username U secret S\" and \"login local\""))
}
