//! Output filters: `show … | include RE` and others.

use regex_lite::Regex;

/// The filter after the `|`.
#[derive(Clone, Debug)]
pub enum Pipe {
    /// Lines that match.
    Include(Regex),
    /// Lines that do not match.
    Exclude(Regex),
    /// From the first line that matches.
    Begin(Regex),
    /// Matching lines, each with the more indented lines below it.
    Section(Regex),
    /// All other lines.
    SectionExclude(Regex),
    /// The number of lines that match.
    Count(Regex),
    /// The command's JSON form.
    Json,
}

/// Why the text after `|` is not a valid filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipeError {
    /// Unknown or ambiguous keyword.
    Keyword,
    /// The expression is missing.
    Incomplete,
    /// The regular expression is invalid.
    Expression(String),
}

/// Keywords with their help.
pub(super) const KEYWORDS: &[(&str, &str)] = &[
    ("begin", "Begin with the line that matches"),
    ("count", "Count number of lines which match regexp"),
    ("exclude", "Exclude lines that match"),
    ("include", "Include lines that match"),
    ("json", "Print the command's JSON form"),
    ("section", "Filter a section of output"),
];

impl Pipe {
    /// Parses the text after the `|`.
    pub fn parse(text: &str) -> Result<Self, PipeError> {
        let (word, rest) = first_word(text);
        if word.is_empty() {
            return Err(PipeError::Incomplete);
        }
        let word = word.to_ascii_lowercase();
        let mut found = KEYWORDS.iter().filter(|(name, _)| name.starts_with(&word));
        let (Some((keyword, _)), None) = (found.next(), found.next()) else { return Err(PipeError::Keyword) };
        if *keyword == "json" {
            return if rest.is_empty() { Ok(Self::Json) } else { Err(PipeError::Keyword) };
        }
        let (mut exclude, mut expression) = (false, rest);
        if *keyword == "section" {
            match first_word(rest) {
                ("include", tail) if !tail.is_empty() => expression = tail,
                ("exclude", tail) if !tail.is_empty() => (exclude, expression) = (true, tail),
                _ => {}
            }
        }
        if expression.is_empty() {
            return Err(PipeError::Incomplete);
        }
        let regex = Regex::new(expression).map_err(|error| PipeError::Expression(error.to_string()))?;
        Ok(match (*keyword, exclude) {
            ("begin", _) => Self::Begin(regex),
            ("count", _) => Self::Count(regex),
            ("exclude", _) => Self::Exclude(regex),
            ("include", _) => Self::Include(regex),
            (_, true) => Self::SectionExclude(regex),
            (_, false) => Self::Section(regex),
        })
    }

    /// The filtered text.
    pub fn apply(&self, text: &str) -> String {
        let kept: Vec<&str> = match self {
            Self::Include(regex) => text.lines().filter(|line| regex.is_match(line)).collect(),
            Self::Exclude(regex) => text.lines().filter(|line| !regex.is_match(line)).collect(),
            Self::Begin(regex) => text.lines().skip_while(|line| !regex.is_match(line)).collect(),
            Self::Section(regex) => sections(text, regex, true),
            Self::SectionExclude(regex) => sections(text, regex, false),
            Self::Count(regex) => {
                let count = text.lines().filter(|line| regex.is_match(line)).count();
                return format!("Number of lines which match regexp = {count}\n");
            }
            Self::Json => text.lines().collect(),
        };
        kept.iter().flat_map(|line| [*line, "\n"]).collect()
    }
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn sections<'t>(text: &'t str, regex: &Regex, wanted: bool) -> Vec<&'t str> {
    let mut inside: Option<usize> = None;
    let keep = |line: &&'t str| {
        let indent = line.len() - line.trim_start().len();
        if inside.is_none_or(|depth| indent <= depth) {
            inside = regex.is_match(line).then_some(indent);
        }
        inside.is_some() == wanted
    };
    text.lines().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "hostname R1\ncrypto map a 1 ipsec-isakmp \n set peer 10.1.1.1\n match address 101\ninterface x\n crypto map a\n";

    fn filtered(pipe: &str) -> String {
        Pipe::parse(pipe).unwrap().apply(TEXT)
    }

    #[test]
    fn filters_keep_what_they_say() {
        assert_eq!(filtered("include peer|address"), " set peer 10.1.1.1\n match address 101\n");
        assert_eq!(
            filtered("exc  map"),
            "hostname R1\n set peer 10.1.1.1\n match address 101\ninterface x\n"
        );
        assert_eq!(filtered("begin interface"), "interface x\n crypto map a\n");
        assert_eq!(
            filtered("sec ^crypto"),
            "crypto map a 1 ipsec-isakmp \n set peer 10.1.1.1\n match address 101\n"
        );
        assert_eq!(filtered("section exclude ^crypto"), "hostname R1\ninterface x\n crypto map a\n");
        assert_eq!(filtered("count crypto"), "Number of lines which match regexp = 2\n");
    }

    #[test]
    fn bad_filters_are_told_apart() {
        assert_eq!(Pipe::parse("").unwrap_err(), PipeError::Incomplete);
        assert_eq!(Pipe::parse("include").unwrap_err(), PipeError::Incomplete);
        assert_eq!(Pipe::parse("frobnicate x").unwrap_err(), PipeError::Keyword);
        assert!(matches!(Pipe::parse("include ("), Err(PipeError::Expression(_))));
    }
}
