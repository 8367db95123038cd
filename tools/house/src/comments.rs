//! Comments: lines that are too wide, and words that were retired.

use std::collections::BTreeMap;

use crate::source::SourceFile;

/// Comments wrap at this column.
pub const WIDEST: usize = 100;

/// Words and phrases that comments should not use.
const RETIRED: [&str; 11] = [
    "books",
    "comes home",
    "come home",
    "errand",
    "letter box",
    "nobody",
    "somebody",
    "strike",
    "stranger",
    "told",
    "whoever",
];

/// One line of a comment.
#[derive(Debug, PartialEq, Eq)]
pub struct CommentLine {
    /// Line number, from 1.
    pub line: usize,
    /// Characters of the whole line.
    pub width: usize,
    /// The comment without its marker.
    pub text: String,
}

/// The comment lines of a source text. Text inside of a string is not a comment.
pub fn lines(source: &str) -> Vec<CommentLine> {
    let mut found = Vec::new();
    let mut state = State::Code;
    for (index, line) in source.lines().enumerate() {
        let (comment, next) = scan(line, state);
        state = next;
        if let Some(text) = comment {
            let text = text.trim().trim_start_matches(['/', '!', '*']).trim().to_owned();
            found.push(CommentLine { line: index + 1, width: line.chars().count(), text });
        }
    }
    found
}

/// Lines that are wider than [`WIDEST`] for each file, most first.
pub fn wide(files: &[SourceFile]) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = files
        .iter()
        .map(|file| {
            let wide = lines(&file.text).iter().filter(|line| line.width > WIDEST).count();
            (file.path.clone(), wide)
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

/// Places (`path:line`) of each retired word.
pub fn retired(files: &[SourceFile]) -> BTreeMap<&'static str, Vec<String>> {
    let mut found: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for file in files {
        for line in lines(&file.text) {
            let words = format!(" {} ", words_of(&line.text).join(" "));
            for word in RETIRED {
                if words.contains(&format!(" {word} ")) || words.contains(&format!(" {word}s ")) {
                    found.entry(word).or_default().push(format!("{}:{}", file.path, line.line));
                }
            }
        }
    }
    found
}

fn words_of(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What the scanner is inside of at the end of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    Text,
    /// A raw string that ends at a quote with this many `#`.
    RawText(usize),
    /// Block comments, nested so deep.
    Block(usize),
}

/// The comment of one line, from its marker on, and the state behind the line.
fn scan(line: &str, mut state: State) -> (Option<String>, State) {
    let chars: Vec<char> = line.chars().collect();
    let mut comment = match state {
        State::Block(_) => Some(String::new()),
        _ => None,
    };
    let at = |index: usize| chars.get(index).copied().unwrap_or('\n');
    let mut index = 0;
    while index < chars.len() {
        let (c, next) = (chars[index], at(index + 1));
        match state {
            State::Code => match (c, next) {
                ('/', '/') => return (Some(chars[index..].iter().collect()), state),
                ('/', '*') => {
                    state = State::Block(1);
                    comment.get_or_insert_default();
                    index += 1;
                }
                ('"', _) => state = raw_marks(&chars[..index]).map_or(State::Text, State::RawText),
                // A character, not a lifetime.
                ('\'', '\\') => {
                    index += 3;
                    while index < chars.len() && chars[index] != '\'' {
                        index += 1;
                    }
                }
                ('\'', _) if at(index + 2) == '\'' => index += 2,
                _ => {}
            },
            State::Text => match c {
                '\\' => index += 1,
                '"' => state = State::Code,
                _ => {}
            },
            State::RawText(marks) => {
                if c == '"' && (1..=marks).all(|mark| at(index + mark) == '#') {
                    index += marks;
                    state = State::Code;
                }
            }
            State::Block(depth) => {
                if (c, next) == ('*', '/') {
                    state = if depth == 1 { State::Code } else { State::Block(depth - 1) };
                    index += 1;
                } else if (c, next) == ('/', '*') {
                    state = State::Block(depth + 1);
                    index += 1;
                } else {
                    comment.get_or_insert_default().push(c);
                }
            }
        }
        index += 1;
    }
    (comment, state)
}

/// Number of `#` between `r` and a quote, if what stands before the quote begins a raw string.
fn raw_marks(before: &[char]) -> Option<usize> {
    let marks = before.iter().rev().take_while(|c| **c == '#').count();
    let mut rest = before[..before.len() - marks].iter().rev();
    let is_raw = rest.next() == Some(&'r');
    let starts_word = rest.next().is_none_or(|c| !c.is_alphanumeric() && *c != '_' || matches!(c, 'b' | 'c'));
    (is_raw && starts_word).then_some(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_characters_are_no_comments() {
        let source = "let a = \"http://x\"; // one\n/// two\nlet b = r#\"// \"no\"#; let c = '\"'; // three\n\
                      /* four\n * five */ let d = \"open\n// no\"; fn f<'a>() {} // six\nlet e = ['\\'','\"']; // seven";
        let found: Vec<(usize, String)> =
            lines(source).into_iter().map(|line| (line.line, line.text)).collect();
        let expected =
            [(1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five"), (6, "six"), (7, "seven")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn wide_comment_lines_are_counted() {
        let text = format!("//! {}\n// short\nconst A: &str = \"{}\";\n", "x".repeat(97), "y".repeat(120));
        let files = [SourceFile::parse("a.rs", "a", &text).unwrap()];
        assert_eq!(wide(&files), [("a.rs".to_owned(), 1)]);
    }

    #[test]
    fn retired_words_are_found_whole_and_in_comments_only() {
        let text = "// Strangers are told.\n// stranger_things, toldx\nfn told() {} // A letter box: it comes home\n";
        let files = [SourceFile::parse("a.rs", "a", text).unwrap()];
        let found = retired(&files);
        assert_eq!(
            found.keys().copied().collect::<Vec<_>>(),
            ["comes home", "letter box", "stranger", "told"]
        );
        assert_eq!(found["stranger"], ["a.rs:1"]);
    }
}
