//! Errors while reading the tree.

use std::path::PathBuf;

/// A step that failed, with its place.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// A file or directory could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A source file is no valid Rust.
    #[error("{path}: {source}")]
    Syntax {
        /// The file, relative to the workspace.
        path: String,
        /// The parser's reason.
        source: syn::Error,
    },
    /// `cargo metadata` could not be started or ended with an error.
    #[error("cargo metadata: {0}")]
    Metadata(String),
    /// The output of `cargo metadata` is no valid JSON.
    #[error("cargo metadata: {0}")]
    Json(#[from] serde_json::Error),
    /// `deny.toml` lacks a list that the check needs, or is written in a form that the check cannot
    /// read.
    #[error("deny.toml: {0}")]
    Policy(String),
}

/// Result of a step.
pub type Result<T, E = HouseError> = std::result::Result<T, E>;
