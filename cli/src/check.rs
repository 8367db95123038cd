//! `tohub check FILE`.

use std::path::Path;

use config::commit::review;
use config::edit::Environment;
use config::file;

use crate::failure::Failure;

/// Host names are not looked up: the check gives the same answer everywhere.
struct Offline;

impl Environment for Offline {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// Prints notes, or the error for which the file would be refused.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let loaded = file::load(path, &mut Offline).map_err(|error| match &error {
        file::FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::new(Failure::PERMISSION, format!("{error}; run it as root"))
        }
        file::FileError::Io { .. } => Failure::new(Failure::FAILED, error.to_string()),
        _ => Failure::new(Failure::REFUSED, error.to_string()),
    })?;
    let notes: Vec<String> = loaded.notes.into_iter().chain(review(&loaded.configuration)).collect();
    for note in &notes {
        println!("{note}");
    }
    println!("{}: accepted, {} notes", path.display(), notes.len());
    Ok(())
}
