//! Configuration files: accepted or rejected as a whole, written atomically with mode 0600.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Configuration;
use crate::commit;
use crate::edit::{self, Editor, Environment, KnownRules, Mode};
use crate::render::{MASK, Secrets, running_config};
use crate::shell::{MAX_LINE, column, parse_error_text};
use crate::tree::{ParseError, tokens};

/// Maximum size of a configuration file in bytes.
pub const MAX_FILE: u64 = 16 << 20;

/// Why a configuration file was rejected. No part of it was applied.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{path}: cannot {operation} the configuration file: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        operation: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// It is not a text file within the size limit.
    #[error("{path}: {reason}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A line is invalid.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// The line that caused the rejection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct LineError {
    /// Name of the file, as given.
    pub file: String,
    /// Line number from 1; 0 for an error that concerns the whole file.
    pub number: usize,
    /// The line.
    pub line: String,
    /// Column of the first invalid character, from 0.
    pub caret: Option<usize>,
    /// The error.
    pub message: String,
    /// The remedy.
    pub remedy: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.caret.map_or(String::new(), |at| format!(":{}", at + 1));
        writeln!(f, "{}:{}{column}: {}", self.file, self.number, self.message)?;
        if self.number > 0 {
            writeln!(f, "    {}", self.line)?;
        }
        if let Some(at) = self.caret {
            writeln!(f, "    {}^", " ".repeat(at))?;
        }
        write!(f, "remedy: {}", self.remedy)
    }
}

/// A loaded configuration with its notes.
#[derive(Debug)]
pub struct Loaded {
    /// The model, settled.
    pub configuration: Configuration,
    /// Notes to print or log.
    pub notes: Vec<String>,
}

/// Loads a file. Host names are resolved by `environment`.
pub fn load(path: &Path, environment: &mut dyn Environment) -> Result<Loaded, FileError> {
    let io_error = |source| FileError::Io { path: path.into(), operation: "read", source };
    let file = fs::File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    let mut bytes = Vec::new();
    // A pipe or a device has no file size: limit the number of bytes read.
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_FILE {
        let reason = format!("it has more bytes than a configuration file may have ({MAX_FILE})");
        return Err(FileError::NotText { path: path.into(), reason });
    }
    let text = String::from_utf8(bytes).map_err(|error| FileError::NotText {
        path: path.into(),
        reason: format!("not a text: byte {} is not UTF-8", error.utf8_error().valid_up_to()),
    })?;
    if let Some(at) = text.find('\0') {
        let reason =
            format!("not a text: byte {at} is zero, as after a crash while it was written; restore it");
        return Err(FileError::NotText { path: path.into(), reason });
    }
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut loaded = parse(&path.display().to_string(), text, environment)?;
    if metadata.is_file()
        && metadata.mode() & 0o077 != 0
        && running_config(&loaded.configuration, Secrets::Hidden).contains(MASK)
    {
        let note = "others than its owner may read this file and the keys in it; type \"chmod 600\" for it";
        loaded.notes.push(format!("%NOTE: {}: {note}", path.display()));
    }
    Ok(loaded)
}

/// Parses configuration text; `file` is its name in messages.
pub fn parse(file: &str, text: &str, environment: &mut dyn Environment) -> Result<Loaded, LineError> {
    let mut configuration = Configuration::default();
    let mut notes = Vec::new();
    let mut mode = Mode::Global;
    let mut known_rules = KnownRules::default();
    for (index, line) in text.split('\n').enumerate() {
        let refuse = |caret, message: String, remedy: String| {
            let (file, line) = (file.into(), line.trim_end().to_string());
            LineError { file, number: index + 1, line, caret, message, remedy }
        };
        if line.len() > MAX_LINE {
            let message = format!("line longer than {MAX_LINE} bytes");
            return Err(refuse(None, message, "split it or remove it".into()));
        }
        let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words = tokens(&clean);
        match words.first() {
            None => continue,
            // A comment does not end the mode: generated files have comments inside access lists.
            Some(first) if first.text.starts_with('!') => continue,
            Some(first) if words.len() == 1 && first.text.eq_ignore_ascii_case("end") && index > 0 => break,
            Some(_) => {}
        }
        let step = edit::parse(&mode, &clean, &words).map_err(|error| {
            let caret = match error {
                ParseError::Invalid { at, .. } => Some(column(&clean, at)),
                _ => None,
            };
            let (message, remedy) = parse_error_text(&error, &mode);
            refuse(caret, message, remedy)
        })?;
        let mut editor = Editor::new(&mut configuration, mode, true, &mut known_rules);
        let applied = step.apply_with(&mut editor, environment);
        mode = editor.mode;
        notes.extend(editor.notices.into_iter().map(|note| format!("{file}:{}: {note}", index + 1)));
        applied.map_err(|error| refuse(None, error.0, "correct or remove this line".into()))?;
    }
    notes.extend(commit::settle(&mut configuration).map_err(|error| LineError {
        file: file.into(),
        number: 0,
        line: String::new(),
        caret: None,
        message: error.0,
        remedy: "correct the access list or the crypto map that names it".into(),
    })?);
    Ok(Loaded { configuration, notes })
}

/// Writes the configuration including secrets: a new file with mode 0600 beside `path` is flushed
/// to disk, then renamed.
pub fn save(path: &Path, configuration: &Configuration) -> Result<(), FileError> {
    let io_error = |source| FileError::Io { path: path.into(), operation: "write", source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || {
        // A file left by a crash may have another mode: it is replaced, never reused.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let text = zeroize::Zeroizing::new(running_config(configuration, Secrets::Shown));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(io_error)
}
