//! Removal of what killed laboratories left behind: namespaces with their processes, pinned
//! programs, run directories, captures. Every name includes the process id of its creator,
//! `tohub-PID-…`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::run;
use crate::namespace::Namespace;

/// The places of these files, with the parts of their names before and after the process id.
const PLACES: [(&str, &str, char); 4] = [
    ("/run", "tohub-", '-'),
    ("/run/tohub-peers", "tohub-", '-'),
    ("/sys/fs/bpf/tohub", "tohub_", '_'),
    ("/tmp", "tohub-", '-'),
];

/// Removes everything whose creator no longer exists.
pub fn remove_stale() {
    // The namespaces first: this ends the processes, which hold the other objects.
    for name in run("ip", &["netns", "list"]).unwrap_or_default().lines() {
        let name = name.split_whitespace().next().unwrap_or_default();
        if is_stale(name, "tohub-", '-') {
            drop(Namespace::adopt(name));
        }
    }
    for (folder, prefix, separator) in PLACES {
        for path in stale_in(Path::new(folder), prefix, separator) {
            // Removing a pinned link detaches its program; the interface was removed with its
            // namespace.
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn stale_in(folder: &Path, prefix: &str, separator: char) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| is_stale(&entry.file_name().to_string_lossy(), prefix, separator))
        .map(|entry| entry.path())
        .collect()
}

fn is_stale(name: &str, prefix: &str, separator: char) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.split_once(separator))
        .and_then(|(pid, _)| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_laboratory_made_is_stale() {
        let own = std::process::id();
        assert!(is_stale("tohub-4294967295-0-branch", "tohub-", '-'));
        assert!(is_stale("tohub_4294967295_1_branch-2050c173", "tohub_", '_'));
        assert!(!is_stale(&format!("tohub-{own}-0-branch"), "tohub-", '-'));
        for foreign in ["tohub", "tohub-", "tohub-peers", "tohub-4294967295", "default", "xtohub-1-2"] {
            assert!(!is_stale(foreign, "tohub-", '-'), "{foreign}");
        }
    }
}
