//! Extracts the valid parts of a rejected file, in order to drop the traffic that it would protect,
//! never in order to run it.

use crate::Configuration;
use crate::commit;
use crate::edit::{self, Editor, KnownRules, Mode, Offline};
use crate::shell::MAX_LINE;
use crate::tree::tokens;

/// The valid lines of a file, and the others.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// The model built from the valid lines. The rules for whole configurations may not hold.
    pub configuration: Configuration,
    /// Each rejected line with its mode.
    pub refused: Vec<(Mode, String)>,
}

/// Parses `text` line by line and continues after each error.
pub fn salvage(text: &str) -> Salvaged {
    let mut salvaged = Salvaged::default();
    let mut mode = Mode::Global;
    let mut known_rules = KnownRules::default();
    for line in text.split('\n').map(str::trim_end) {
        let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words = tokens(&clean);
        let Some(first) = words.first().filter(|first| !first.text.starts_with('!')) else { continue };
        if words.len() == 1 && first.text.eq_ignore_ascii_case("end") {
            break;
        }
        let step = if line.len() > MAX_LINE { None } else { edit::parse(&mode, &clean, &words).ok() };
        let Some(step) = step else {
            // An unknown line without indentation ends the current mode.
            if !clean.starts_with(' ') {
                mode = Mode::Global;
            }
            salvaged.refused.push((mode.clone(), clean));
            continue;
        };
        let mut editor = Editor::new(&mut salvaged.configuration, mode.clone(), true, &mut known_rules);
        let applied = step.apply_with(&mut editor, &mut Offline);
        let after = editor.mode;
        if applied.is_err() {
            salvaged.refused.push((mode.clone(), clean));
        }
        mode = after;
    }
    // Its errors were reported when the file was rejected.
    let _ = commit::settle(&mut salvaged.configuration);
    salvaged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_lines_are_kept_and_others_are_listed_with_their_mode() {
        let salvaged = salvage(
            "hostname branch\nno such command\nip access-list extended lan\n permit ip any any\n permit gre nonsense\n\
             interface GigabitEthernet0/1\n crypto map m\n",
        );
        assert!(salvaged.configuration.access_lists.contains_key("lan"));
        assert_eq!(salvaged.configuration.interfaces.len(), 1);
        let refused: Vec<&str> = salvaged.refused.iter().map(|(_, line)| line.trim()).collect();
        assert_eq!(refused, ["no such command", "permit gre nonsense"]);
        assert_eq!(salvaged.refused[1].0, Mode::AccessList("lan".to_owned()));
    }
}
