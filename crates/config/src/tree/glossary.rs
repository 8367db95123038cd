//! Help texts of keywords and operands.

/// The help of `word` behind `previous`: the special one, else the general one, else nothing.
pub(super) fn keyword(previous: &str, word: &str) -> &'static str {
    let special = SPECIAL.iter().find(|(before, name, _)| *before == previous && *name == word);
    let general = || KEYWORDS.iter().find(|(name, _)| *name == word).map(|(_, help)| *help);
    special.map(|(_, _, help)| *help).or_else(general).unwrap_or("")
}

/// The help of an operand.
pub(super) fn operand(name: &str) -> &'static str {
    OPERANDS.iter().find(|(operand, _)| *operand == name).map_or("", |(_, help)| *help)
}

const SPECIAL: &[(&str, &str, &str)] = &[];
const KEYWORDS: &[(&str, &str)] = &[];
const OPERANDS: &[(&str, &str)] = &[];
