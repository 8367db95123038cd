//! The files of the repository and the words in them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Endings of the files whose words count as code.
const CODE: [&str; 9] = ["rs", "sh", "py", "toml", "mk", "cfg", "conf", "service", "yml"];

/// Everything that a page may name.
pub(crate) struct Repository {
    root: PathBuf,
    /// Paths relative to the root, with `/`; directories end in `/`. Sorted.
    pub(crate) paths: Vec<String>,
    /// Identifiers in code, scripts and manifests.
    words: HashSet<String>,
}

impl Repository {
    /// Reads the repository that this test was compiled in.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let mut repository = Self { root, paths: Vec::new(), words: HashSet::new() };
        repository.list("");
        repository.paths.sort();
        for path in repository.code() {
            let text = repository.text(&path);
            repository.words.extend(
                text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned),
            );
        }
        repository
    }

    /// The text of a file, empty if it is not text.
    pub(crate) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    /// Whether some code has this identifier.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Whether a file or directory of this path is there; the ending `.rs` may be left out.
    pub(crate) fn has_path(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        ["", ".rs", "/"].iter().any(|ending| self.paths.binary_search(&format!("{path}{ending}")).is_ok())
    }

    /// Whether a directory has the file or directory somewhere below it; the ending `.rs` may be
    /// left out.
    pub(crate) fn has_below(&self, directory: &str, path: &str) -> bool {
        let endings = ["", ".rs", "/"].map(|ending| format!("/{}{ending}", path.trim_end_matches('/')));
        self.paths.iter().any(|candidate| {
            candidate.starts_with(directory) && endings.iter().any(|ending| candidate.ends_with(ending))
        })
    }

    /// Paths whose last part is this name, for the message about a missing one.
    pub(crate) fn candidates(&self, path: &str) -> Vec<&String> {
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
        self.paths
            .iter()
            .filter(|path| path.trim_end_matches('/').rsplit('/').next() == Some(&format!("{name}.rs")))
            .take(3)
            .collect()
    }

    /// Files with Rust code, scripts and manifests.
    pub(crate) fn code(&self) -> Vec<String> {
        let is_code = |path: &&String| {
            path.rsplit_once('.').is_some_and(|(_, ending)| CODE.contains(&ending))
                || path.ends_with("Makefile")
        };
        self.paths.iter().filter(is_code).cloned().collect()
    }

    /// Rust files below a directory (`""` for all), those of tests left out.
    pub(crate) fn rust(&self, directory: &str) -> impl Iterator<Item = &String> {
        self.paths.iter().filter(move |path| {
            path.starts_with(directory)
                && path.ends_with(".rs")
                && !path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
        })
    }

    /// The pages: those at the root, except the change log, and those below `docs`.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &String> {
        self.paths.iter().filter(|path| {
            let is_at_root = !path.contains('/') && *path != "CHANGELOG.md";
            path.ends_with(".md") && (is_at_root || path.starts_with("docs/"))
        })
    }

    fn list(&mut self, directory: &str) {
        for entry in std::fs::read_dir(self.root.join(directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "target" || name == ".git" || name == "corpus" {
                continue;
            }
            let path = format!("{directory}{name}");
            if entry.file_type().unwrap().is_dir() {
                self.list(&format!("{path}/"));
                self.paths.push(format!("{path}/"));
            } else {
                self.paths.push(path);
            }
        }
    }
}
