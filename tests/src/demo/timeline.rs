//! The live timeline: milestones of the demo and log messages of the branch gateway, in order of
//! time.

use std::collections::VecDeque;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lab::probe::now_ms;

/// A message of the branch gateway, with the time it was seen.
#[derive(Debug, Clone)]
pub struct Message {
    /// Milliseconds of the laboratory's clock.
    pub at: u64,
    /// The text, beginning at `%`.
    pub text: String,
}

/// Prints lines with the seconds since the start.
#[derive(Debug, Clone)]
pub struct Timeline {
    started: u64,
    messages: Arc<Mutex<VecDeque<Message>>>,
    ended: Arc<AtomicBool>,
}

impl Timeline {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { started: now_ms(), messages: Arc::default(), ended: Arc::default() }
    }

    /// Prints a milestone of the demo.
    pub fn say(&self, text: &str) {
        self.print(now_ms(), text);
    }

    /// Follows the branch's log from another thread, printing and remembering its
    /// `%FACILITY-SEVERITY-MNEMONIC` lines.
    pub fn follow(&self, log: PathBuf) {
        let timeline = self.clone();
        std::thread::spawn(move || {
            let mut position = 0;
            let mut partial = String::new();
            while !timeline.ended.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(10));
                let Ok(mut file) = std::fs::File::open(&log) else { continue };
                if file.seek(SeekFrom::Start(position)).is_err() {
                    continue;
                }
                let mut text = Vec::new();
                let Ok(length) = file.read_to_end(&mut text) else { continue };
                position += length as u64;
                partial.push_str(&String::from_utf8_lossy(&text));
                while let Some(end) = partial.find('\n') {
                    let line: String = partial.drain(..=end).collect();
                    timeline.notice(line.trim_end());
                }
            }
        });
    }

    /// The first message since a given time that contains all the words.
    pub fn message_since(&self, since: u64, words: &[&str]) -> Option<Message> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages
            .iter()
            .find(|message| message.at >= since && words.iter().all(|word| message.text.contains(word)))
            .cloned()
    }

    fn notice(&self, line: &str) {
        let Some(start) = line.find("%CRYPTO-").or_else(|| line.find("%IKEV2-")) else { return };
        let message = Message { at: now_ms(), text: line[start..].to_owned() };
        self.print(message.at, &format!("    branch: {}", message.text));
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a demo fit a double")]
    fn print(&self, at: u64, text: &str) {
        println!("[{:7.2} s] {text}", at.saturating_sub(self.started) as f64 / 1000.0);
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        // If only the follower's clone is left, the timeline has ended.
        if Arc::strong_count(&self.ended) <= 2 {
            self.ended.store(true, Ordering::Relaxed);
        }
    }
}
