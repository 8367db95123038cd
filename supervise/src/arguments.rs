//! The arguments of `tohub-supervise`, and those that it passes to the two processes.

use std::path::{Path, PathBuf};

use clap::Parser;
use program::DEFAULT_RUN_DIR;

/// Runs the gateway, its two processes and their shared memory, until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(name = "tohub-supervise", version)]
pub(crate) struct Arguments {
    /// Run directory of the gateway.
    // `tohub` passes its own option before those of the subcommand; the last one wins.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, env = "TOHUB_RUN_DIR", overrides_with = "run_dir")]
    pub run_dir: PathBuf,
    /// The configuration file; also where `write memory` writes.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Runs every timer of the control plane N times as fast: for tests only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub time_scale: u32,
    /// Cores for the data plane's workers, such as 1,2,3.
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// Number of frames of packet memory.
    #[arg(long, value_name = "N")]
    frames: Option<u32>,
    /// Number of entries of each ring.
    #[arg(long, value_name = "N")]
    ring: Option<u32>,
    /// Allocates packet memory on huge pages.
    #[arg(long)]
    huge_pages: bool,
    /// `auto`, `zero-copy` or `copy`.
    #[arg(long, value_name = "MODE")]
    copy_mode: Option<String>,
    /// Busy-polls for this many microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    busy_poll: Option<u32>,
    /// Seconds without progress after which a process is killed and restarted.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, env = "TOHUB_HUNG_AFTER",
        value_parser = clap::value_parser!(u32).range(3..=3600))]
    pub hung_after: u32,
    /// AEAD back end by name.
    #[arg(long, value_name = "NAME")]
    aead: Option<String>,
    /// An option of earlier releases, rejected.
    #[arg(long, hide = true)]
    pub large_rule_lists: bool,
    /// Log filter of all processes, such as info or debug.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "TOHUB_LOG")]
    pub log: String,
}

impl Arguments {
    /// The arguments of `tohub-controlplane`.
    pub fn of_control_plane(&self) -> Vec<String> {
        let mut list = vec!["--config".into(), text(&self.config), "--run-dir".into(), text(&self.run_dir)];
        if self.time_scale != 1 {
            list.extend(["--time-scale".into(), self.time_scale.to_string()]);
        }
        list
    }

    /// The arguments of `tohub-dataplane`; its options are passed unchanged.
    pub fn of_data_plane(&self) -> Vec<String> {
        let mut list = vec!["--run-dir".into(), text(&self.run_dir)];
        let mut option = |name: &str, value: Option<String>| {
            list.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        option("--cores", self.cores.clone());
        option("--frames", self.frames.map(|n| n.to_string()));
        option("--ring", self.ring.map(|n| n.to_string()));
        option("--copy-mode", self.copy_mode.clone());
        option("--busy-poll", self.busy_poll.map(|n| n.to_string()));
        option("--aead", self.aead.clone());
        if self.huge_pages {
            list.push("--huge-pages".into());
        }
        list
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Arguments {
        Arguments::try_parse_from(["tohub-supervise"].iter().chain(options)).unwrap()
    }

    #[test]
    fn the_last_run_directory_counts() {
        let arguments = parse(&["--run-dir", "/run/a", "--config", "c", "--run-dir", "/run/b"]);
        assert_eq!(arguments.run_dir, Path::new("/run/b"));
    }

    #[test]
    fn each_process_gets_its_own_options() {
        let arguments = parse(&[
            "--config",
            "c",
            "--run-dir",
            "r",
            "--time-scale",
            "10",
            "--cores",
            "1,2",
            "--huge-pages",
            "--aead",
            "portable",
        ]);
        assert_eq!(arguments.of_control_plane(), ["--config", "c", "--run-dir", "r", "--time-scale", "10"]);
        assert_eq!(
            arguments.of_data_plane(),
            ["--run-dir", "r", "--cores", "1,2", "--aead", "portable", "--huge-pages"]
        );
    }
}
