//! The measures as text.

use std::fmt::Write as _;

use crate::functions::{Function, of_file};
use crate::metadata::Workspace;
use crate::source::SourceFile;
use crate::twins::LEAST_TOKENS;
use crate::{circles, comments, twins, types, unused};

/// Files above this number of lines are counted.
const LONG_FILE: usize = 400;
/// Functions above this number of lines are counted.
const LONG_FUNCTION: usize = 60;

/// Names of the sections, in their order.
pub const SECTIONS: [&str; 8] =
    ["files", "functions", "types", "circles", "twins", "unused", "comments", "binaries"];

/// Everything that the sections are made from.
pub struct Tree {
    /// Packages and binaries.
    pub workspace: Workspace,
    /// Source files, sorted by path.
    pub files: Vec<SourceFile>,
}

/// One section: its heading and lines.
#[derive(Default)]
pub struct Section {
    /// Heading with the totals.
    pub heading: String,
    /// Lines, most important first.
    pub lines: Vec<String>,
    /// Lines that are shown when the section is not asked for by name.
    pub shown: usize,
}

impl Section {
    /// The text of the section; `whole` shows every line.
    pub fn text(&self, whole: bool) -> String {
        let shown = if whole { self.lines.len() } else { self.shown.min(self.lines.len()) };
        let mut text = format!("== {}\n", self.heading);
        for line in &self.lines[..shown] {
            _ = writeln!(text, "  {line}");
        }
        if shown < self.lines.len() {
            _ = writeln!(text, "  … and {} more", self.lines.len() - shown);
        }
        text
    }
}

/// Makes one section; nothing for a name that is not in [`SECTIONS`].
pub fn section(tree: &Tree, name: &str) -> Option<Section> {
    Some(match name {
        "files" => files(&tree.files),
        "functions" => functions(&tree.files),
        "types" => type_sizes(&tree.files),
        "circles" => import_circles(tree),
        "twins" => equal_functions(&tree.files),
        "unused" => unused_items(tree),
        "comments" => comment_lines(&tree.files),
        "binaries" => binaries(&tree.workspace),
        _ => return None,
    })
}

fn files(files: &[SourceFile]) -> Section {
    let mut sizes: Vec<(usize, &str)> =
        files.iter().map(|file| (file.text.lines().count(), file.path.as_str())).collect();
    sizes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let long = sizes.iter().filter(|(lines, _)| *lines > LONG_FILE).count();
    let total: usize = sizes.iter().map(|(lines, _)| lines).sum();
    Section {
        heading: format!("files: {} of {total} lines, {long} above {LONG_FILE}", sizes.len()),
        lines: sizes.iter().take(long.max(10)).map(|(lines, path)| format!("{lines:5} {path}")).collect(),
        shown: 10,
    }
}

fn functions(files: &[SourceFile]) -> Section {
    let mut functions: Vec<Function> = files.iter().flat_map(of_file).collect();
    let long = functions.iter().filter(|function| function.lines > LONG_FUNCTION).count();
    let long_in_tests =
        functions.iter().filter(|function| function.lines > LONG_FUNCTION && function.is_test).count();
    functions.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.place.cmp(&b.place)));
    Section {
        heading: format!(
            "functions: {}, {long} above {LONG_FUNCTION} lines ({long_in_tests} of them in tests)",
            functions.len()
        ),
        lines: functions
            .iter()
            .take(long.max(10))
            .map(|function| format!("{:5} {} {}", function.lines, function.name, function.place))
            .collect(),
        shown: 10,
    }
}

fn type_sizes(files: &[SourceFile]) -> Section {
    let mut sizes = types::measure(files);
    let total = sizes.len();
    sizes.truncate(40);
    Section {
        heading: format!("types: {total} structs; fields, files with an impl"),
        lines: sizes
            .iter()
            .map(|size| {
                format!("{:3} fields, {:2} files: {} {}", size.fields, size.impl_files, size.name, size.path)
            })
            .collect(),
        shown: 10,
    }
}

fn import_circles(tree: &Tree) -> Section {
    let mut lines = Vec::new();
    let (mut folders, mut single) = (0, 0);
    for circles in circles::measure(&tree.workspace, &tree.files) {
        for circle in &circles.between_folders {
            folders += 1;
            lines.push(format!(
                "{}: {} of {} folders: {}",
                circles.name,
                circle.len(),
                circles.folders,
                abbreviated(circle, 12)
            ));
        }
        for circle in &circles.between_files {
            single += 1;
            lines.push(format!("{}: {} files: {}", circles.name, circle.len(), abbreviated(circle, 6)));
        }
    }
    Section {
        heading: format!("circles of imports: {folders} between folders, {single} between files"),
        lines,
        shown: 16,
    }
}

fn equal_functions(files: &[SourceFile]) -> Section {
    let functions: Vec<Function> = files.iter().flat_map(of_file).collect();
    let of = |tests: bool| -> Vec<twins::Twins> {
        let chosen: Vec<&Function> = functions.iter().filter(|function| tests || !function.is_test).collect();
        let mut twins = twins::measure(&chosen, LEAST_TOKENS);
        if tests {
            let is_test = |place: &String| functions.iter().any(|f| f.is_test && f.place == *place);
            twins.retain(|twins| twins.functions.iter().any(|(_, place)| is_test(place)));
        }
        twins
    };
    let (code, tests) = (of(false), of(true));
    let shown_as = |twins: &twins::Twins| {
        let places: Vec<String> =
            twins.functions.iter().map(|(name, place)| format!("{name} {place}")).collect();
        format!("{} tokens: {}", twins.tokens, abbreviated(&places, 3))
    };
    Section {
        heading: format!(
            "twins, equal but for names, from {LEAST_TOKENS} tokens on: {} groups, {} more in tests",
            code.len(),
            tests.len()
        ),
        lines: code.iter().chain(&tests).map(shown_as).collect(),
        shown: 12,
    }
}

fn unused_items(tree: &Tree) -> Section {
    let names = unused::Names::new(&tree.files);
    let items = unused::public_items(&tree.workspace, &tree.files, &names);
    let dependencies = unused::dependencies(&tree.workspace, &tree.files, &names);
    let total: usize = items.values().map(Vec::len).sum();
    let mut lines = vec![format!("dependencies: {}", or_none(&abbreviated(&dependencies, 8)))];
    lines.extend(items.iter().map(|(package, items)| {
        let short: Vec<String> =
            items.iter().map(|item| item.split(" (").next().unwrap_or(item).to_owned()).collect();
        format!("{package} {}: {}", items.len(), abbreviated(&short, 8))
    }));
    let shown = lines.len();
    lines.extend(items.values().flatten().cloned());
    Section {
        heading: format!(
            "unused: {} dependencies that no source names, {total} public items that no other file names",
            dependencies.len()
        ),
        lines,
        shown,
    }
}

fn comment_lines(files: &[SourceFile]) -> Section {
    let wide = comments::wide(files);
    let retired = comments::retired(files);
    let total: usize = wide.iter().map(|(_, count)| count).sum();
    let words: usize = retired.values().map(Vec::len).sum();
    let largest: Vec<String> = wide.iter().map(|(path, count)| format!("{path} {count}")).collect();
    let mut lines = vec![format!("widest in: {}", or_none(&abbreviated(&largest, 6)))];
    lines.extend(
        retired.iter().map(|(word, places)| format!("{word} {}: {}", places.len(), abbreviated(places, 3))),
    );
    let shown = lines.len();
    lines.extend(largest);
    lines.extend(
        retired.iter().flat_map(|(word, places)| places.iter().map(move |place| format!("{word} {place}"))),
    );
    Section {
        heading: format!(
            "comments: {total} lines wider than {} columns in {} files, {words} retired words",
            comments::WIDEST,
            wide.len()
        ),
        lines,
        shown,
    }
}

fn binaries(workspace: &Workspace) -> Section {
    Section {
        heading: format!("binaries: {}; workspace crates that each links", workspace.binaries.len()),
        lines: workspace
            .binaries
            .iter()
            .map(|binary| {
                format!(
                    "{}: {}; {} others",
                    binary.name,
                    or_none(&binary.members.join(" ")),
                    binary.third_party
                )
            })
            .collect(),
        shown: 20,
    }
}

/// The first entries of a list, and how many more there are.
fn abbreviated(entries: &[String], most: usize) -> String {
    let mut text = entries[..most.min(entries.len())].join(", ");
    if entries.len() > most {
        _ = write!(text, ", … {} more", entries.len() - most);
    }
    text
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let text = format!("fn long() {{\n{}}}\n", "    call();\n".repeat(LONG_FILE));
        let files = vec![
            SourceFile::parse("x/src/a.rs", "x", &text).unwrap(),
            SourceFile::parse("x/src/b.rs", "x", "fn short() {}").unwrap(),
        ];
        Tree { workspace: Workspace::default(), files }
    }

    #[test]
    fn every_section_has_a_heading() {
        let tree = tree();
        for name in SECTIONS {
            assert!(!section(&tree, name).unwrap().heading.is_empty(), "{name}");
        }
        assert!(section(&tree, "other").is_none());
    }

    #[test]
    fn long_files_and_functions_are_counted() {
        let tree = tree();
        let files = section(&tree, "files").unwrap();
        assert_eq!(files.heading, "files: 2 of 403 lines, 1 above 400");
        assert_eq!(files.lines[0], "  402 x/src/a.rs");
        let functions = section(&tree, "functions").unwrap();
        assert_eq!(functions.heading, "functions: 2, 1 above 60 lines (0 of them in tests)");
    }

    #[test]
    fn a_section_is_cut_unless_it_is_asked_for() {
        let section = Section { heading: "x".into(), lines: vec!["a".into(), "b".into()], shown: 1 };
        assert_eq!(section.text(false), "== x\n  a\n  … and 1 more\n");
        assert_eq!(section.text(true), "== x\n  a\n  b\n");
    }
}
