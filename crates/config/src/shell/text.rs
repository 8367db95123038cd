//! Error texts and help listings in the wording of IOS.

use crate::edit::Mode;
use crate::tree::{Entry, ParseError};

/// Column of the character at byte `at` of `line`, in characters.
pub fn column(line: &str, at: usize) -> usize {
    line.char_indices().take_while(|(offset, _)| *offset < at).count()
}

/// A parse error in a file: the error and the remedy.
pub fn parse_error_text(error: &ParseError, mode: &Mode) -> (String, String) {
    let place = mode.prompt();
    match error {
        ParseError::Invalid { .. } => (
            "% Invalid input detected at '^' marker.".into(),
            format!(
                "correct the word at the marker; type it in `tohub` ({place} mode) with \"?\" to see what may stand there"
            ),
        ),
        ParseError::Incomplete { .. } => (
            "% Incomplete command.".into(),
            format!(
                "the line ends too early; type it in `tohub` ({place} mode) followed by \" ?\" to see what is missing"
            ),
        ),
        ParseError::Ambiguous { .. } => {
            ("% Ambiguous command".into(), "an abbreviation fits several keywords; write them in full".into())
        }
    }
}

/// A parse error in a session: the caret line is printed below the echoed line, so it is indented
/// by the length of the prompt.
pub(super) fn session_error(
    error: &ParseError,
    line: &str,
    prompt: &str,
    exec: bool,
) -> (String, Option<usize>) {
    match error {
        ParseError::Invalid { understood: 0, .. } if exec && line.split_whitespace().count() == 1 => {
            ("% Unknown command or computer name, or unable to find computer address\n".into(), None)
        }
        ParseError::Invalid { at, .. } => {
            let caret = column(line, *at);
            let pad = " ".repeat(prompt.chars().count() + caret);
            (format!("{pad}^\n% Invalid input detected at '^' marker.\n\n"), Some(caret))
        }
        ParseError::Incomplete { .. } => ("% Incomplete command.\n\n".into(), None),
        ParseError::Ambiguous { .. } => (format!("% Ambiguous command:  \"{}\"\n", line.trim()), None),
    }
}

/// The output of `?`: after a blank a list with help texts, after a partial word only the words.
pub(super) fn help(entries: &[Entry], partial: &str) -> String {
    if !partial.is_empty() {
        let words: Vec<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
        return if words.is_empty() {
            "% Unrecognized command\n".into()
        } else {
            format!("{}\n\n", words.join("  "))
        };
    }
    let width = entries.iter().map(|entry| entry.text.len()).max().unwrap_or(0);
    let line = |entry: &Entry| {
        let line = format!("  {:<width$}  {}", entry.text, entry.help);
        format!("{}\n", line.trim_end())
    };
    entries.iter().map(line).collect::<String>() + "\n"
}
