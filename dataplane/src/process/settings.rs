//! The arguments of `tohub-dataplane`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::process::instance::DEFAULT_RUN_DIR;

/// The packet process of a tohub gateway. Started by `tohub supervise`, which hands it the shared
/// segments (LISTEN_FDS, LISTEN_FDNAMES); everything about ports and policies comes through them.
#[derive(Clone, Debug, Parser)]
#[command(name = "tohub-dataplane", version)]
pub struct Settings {
    /// Run directory of the instance.
    #[arg(long, default_value = DEFAULT_RUN_DIR, env = "TOHUB_RUN_DIR")]
    pub run_dir: PathBuf,
    /// Name of the instance; without it the name derives from the run directory.
    #[arg(long)]
    pub instance: Option<String>,
    /// Cores for workers, such as 1,2,3. Without it: all cores of the process but the first, or the
    /// only one.
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Frames of packet memory, 4096 bytes each; 0 reckons the number from ports, queues and
    /// workers.
    #[arg(long, default_value_t = 0)]
    pub frames: u32,
    /// Entries of each receive and transmit ring; a power of two.
    #[arg(long, default_value_t = 2048)]
    pub ring: u32,
    /// Packet memory on huge pages.
    #[arg(long)]
    pub huge_pages: bool,
    /// Whether drivers read and write packet memory themselves.
    #[arg(long, value_enum, default_value_t = CopyMode::Auto)]
    pub copy_mode: CopyMode,
    /// Busy-poll for this many microseconds in the sockets' own system calls; 0 uses interrupts.
    #[arg(long, default_value_t = 0)]
    pub busy_poll: u32,
    /// AEAD back end by name; without it the fastest one of this CPU.
    #[arg(long)]
    pub aead: Option<String>,
    /// Log filter, such as info or dataplane=debug.
    #[arg(long, default_value = "info", env = "TOHUB_LOG")]
    pub log: String,
    /// Log as JSON lines.
    #[arg(long)]
    pub log_json: bool,
}

/// Copy or zero-copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CopyMode {
    /// Zero-copy if every port can, else copy.
    Auto,
    /// Zero-copy, or no start.
    ZeroCopy,
    /// Copy.
    Copy,
}

impl From<CopyMode> for af_xdp::ModePreference {
    fn from(mode: CopyMode) -> Self {
        match mode {
            CopyMode::Auto => Self::Auto,
            CopyMode::ZeroCopy => Self::ZeroCopy,
            CopyMode::Copy => Self::Copy,
        }
    }
}

impl Settings {
    /// The worker cores out of those that the process may use.
    ///
    /// # Errors
    /// A core that was asked for and is not there.
    pub fn worker_cores(&self, available: &[usize]) -> Result<Vec<usize>, usize> {
        if self.cores.is_empty() {
            return Ok(match available {
                [_, workers @ ..] if !workers.is_empty() => workers.to_vec(),
                all => all.to_vec(),
            });
        }
        match self.cores.iter().find(|core| !available.contains(core)) {
            Some(missing) => Err(*missing),
            None => Ok(self.cores.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Settings {
        Settings::try_parse_from([&["tohub-dataplane"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_first_core_keeps_house_unless_it_is_the_only_one() {
        assert_eq!(settings(&[]).worker_cores(&[0, 1, 2]), Ok(vec![1, 2]));
        assert_eq!(settings(&[]).worker_cores(&[3]), Ok(vec![3]));
    }

    #[test]
    fn chosen_cores_have_to_exist() {
        assert_eq!(settings(&["--cores", "0,2"]).worker_cores(&[0, 1, 2]), Ok(vec![0, 2]));
        assert_eq!(settings(&["--cores", "7"]).worker_cores(&[0, 1]), Err(7));
    }
}
