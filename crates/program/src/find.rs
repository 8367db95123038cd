//! Locates the other programs of the installation.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Failure;

/// The program `name` of this installation: in the directory of the running program (symbolic links
/// resolved), in the `sbin` next to that directory, or one directory up (a test build).
///
/// # Errors
/// It is in none of them.
pub fn find(name: &str) -> Result<PathBuf, Failure> {
    let folder = own_folder()?;
    beside(&folder, name).ok_or_else(|| missing(name, &folder))
}

/// As [`find`], then in the absolute directories of `PATH`.
///
/// # Errors
/// It is in none of them.
pub fn find_installed(name: &str) -> Result<PathBuf, Failure> {
    let folder = own_folder()?;
    let found = beside(&folder, name)
        .or_else(|| std::env::var_os("PATH").and_then(|folders| in_path(&folders, name)));
    found.ok_or_else(|| missing(name, &folder))
}

fn own_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::system("finding this program", &error))?;
    Ok(own.parent().map(PathBuf::from).unwrap_or_default())
}

fn beside(folder: &Path, name: &str) -> Option<PathBuf> {
    let candidates = [folder.join(name), folder.join("../sbin").join(name), folder.join("..").join(name)];
    candidates.into_iter().find(|path| path.is_file())
}

/// Relative directories are skipped: they depend on the working directory, and a program found
/// there must not be started as root.
fn in_path(folders: &OsStr, name: &str) -> Option<PathBuf> {
    let absolute = std::env::split_paths(folders).filter(|folder| folder.is_absolute());
    absolute.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn missing(name: &str, folder: &Path) -> Failure {
    let text = format!("{name} is not in {}; install or build all programs together", folder.display());
    Failure::new(Failure::FAILED, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn a_program_is_found_beside_in_sbin_and_one_folder_up() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        for path in ["bin/a", "sbin/a", "sbin/b", "c"] {
            file(&root.path().join(path));
        }
        assert_eq!(beside(&bin, "a"), Some(bin.join("a")), "beside comes first");
        assert_eq!(beside(&bin, "b"), Some(bin.join("../sbin/b")));
        assert_eq!(beside(&bin, "c"), Some(bin.join("../c")));
        assert_eq!(beside(&bin, "d"), None);
        std::fs::create_dir(bin.join("d")).unwrap();
        assert_eq!(beside(&bin, "d"), None, "a folder is no program");
    }

    #[test]
    fn relative_folders_of_path_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        file(&root.path().join("here/Cargo.toml"));
        let folders =
            std::env::join_paths([Path::new("."), Path::new(""), &root.path().join("here")]).unwrap();
        assert_eq!(in_path(&folders, "Cargo.toml"), Some(root.path().join("here/Cargo.toml")));
        assert_eq!(in_path(OsStr::new(".:"), "Cargo.toml"), None, "tests run in the folder of their crate");
    }

    #[test]
    fn a_missing_program_is_named_with_the_remedy() {
        let failure = find_installed("tohub-no-such-program").unwrap_err();
        assert_eq!(failure.code, Failure::FAILED);
        assert!(failure.text.contains("tohub-no-such-program") && failure.text.contains("install"));
    }
}
