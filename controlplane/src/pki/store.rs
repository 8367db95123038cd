//! The key directory: one file for each private key, mode 0600, replaced atomically.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ike::Secret;
use zeroize::Zeroizing;

/// Maximum size of a private key, in octets.
const MAX_KEY: u64 = 64 * 1024;

/// The directory of an instance's private keys: `FILE.keys` beside the configuration file, mode
/// 0700.
#[derive(Clone, Debug)]
pub struct KeyStore {
    folder: PathBuf,
}

/// Why a private key cannot be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The label is not a valid file name.
    #[error(
        "\"{0}\" cannot be the label of a key pair: use letters, digits, \"-\", \"_\" and \".\", at most 64"
    )]
    Label(String),
    /// An operating system error.
    #[error(
        "{path}: cannot {operation} the private key: {source}; it must be a file that root alone may read"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation.
        operation: &'static str,
        /// The error.
        source: io::Error,
    },
    /// Other users can read it.
    #[error(
        "{path}: others than its owner may read this private key; type \"chmod 600\" for it, or replace it if it was read"
    )]
    Readable {
        /// The file.
        path: PathBuf,
    },
}

impl KeyStore {
    /// The store for this configuration file. Creates nothing.
    pub fn beside(config_file: &Path) -> Self {
        let mut folder = config_file.as_os_str().to_owned();
        folder.push(".keys");
        KeyStore { folder: folder.into() }
    }

    /// The private key of this label in DER; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or other users can read it.
    pub fn load(&self, label: &str) -> Result<Option<Secret>, StoreError> {
        let path = self.path(label)?;
        let failed = |source| StoreError::Io { path: path.clone(), operation: "read", source };
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            return Err(StoreError::Readable { path });
        }
        let mut key = Zeroizing::new(Vec::with_capacity(MAX_KEY as usize));
        file.take(MAX_KEY).read_to_end(&mut key).map_err(failed)?;
        Ok(Some(Secret::from(&key[..])))
    }

    /// Stores a private key under a label, replacing an existing one: a new file with mode 0600 is
    /// flushed, then renamed.
    ///
    /// # Errors
    /// If this fails; the old key is then unchanged.
    pub fn save(&self, label: &str, key: &Secret) -> Result<(), StoreError> {
        let path = self.path(label)?;
        let temporary = self.folder.join(format!(".{label}.new"));
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            // A file left by a crash may have another mode: it is replaced, never reused.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(key.expose())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| StoreError::Io { path: path.clone(), operation: "store", source })
    }

    /// The path of a label, which must be a plain file name.
    fn path(&self, label: &str) -> Result<PathBuf, StoreError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if label.is_empty() || label.len() > 64 || label.starts_with('.') || !label.chars().all(fits) {
            return Err(StoreError::Label(label.to_owned()));
        }
        Ok(self.folder.join(format!("{label}.key")))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_stored_for_its_owner_alone_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::beside(&folder.path().join("startup-config"));
        assert!(store.load("T").unwrap().is_none());
        for text in ["first", "second"] {
            store.save("T", &Secret::from(text)).unwrap();
            assert_eq!(store.load("T").unwrap(), Some(Secret::from(text)));
        }
        let keys = folder.path().join("startup-config.keys");
        assert_eq!(fs::metadata(&keys).unwrap().mode() & 0o777, 0o700);
        let names: Vec<_> = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["T.key"]);
        assert_eq!(fs::metadata(keys.join("T.key")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::beside(&folder.path().join("c"));
        store.save("T", &Secret::from("key")).unwrap();
        let file = folder.path().join("c.keys/T.key");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = store.load("T").unwrap_err().to_string();
        assert!(error.contains("T.key") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_label_leads_nowhere_else() {
        let store = KeyStore::beside(Path::new("/nowhere/c"));
        for label in ["", "../T", "a/b", ".hidden", "a b", &"x".repeat(65)] {
            assert!(matches!(store.load(label), Err(StoreError::Label(_))), "{label}");
            assert!(matches!(store.save(label, &Secret::from("key")), Err(StoreError::Label(_))), "{label}");
        }
    }
}
