//! The last transitions, for `show tohub history`.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// Maximum number of transitions kept for `show tohub history`.
pub const HISTORY: usize = 1000;

/// One transition of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// Time in milliseconds on the control plane's clock.
    pub at_ms: u64,
    /// `crypto map M S`, or a peer.
    pub place: String,
    /// The event.
    pub event: String,
}

/// The last [`HISTORY`] transitions.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Transition>);

impl History {
    /// Appends a transition; drops the oldest at the limit.
    pub fn push(&mut self, now: Duration, place: impl Into<String>, event: impl Into<String>) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        let at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.0.push_back(Transition { at_ms, place: place.into(), event: event.into() });
    }

    /// The transitions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Transition> {
        self.0.iter()
    }

    /// `show tohub history`.
    pub fn render(&self, now: Duration) -> String {
        let mut text = String::new();
        for transition in &self.0 {
            let ago = now.saturating_sub(Duration::from_millis(transition.at_ms));
            text.push_str(&format!(
                "{:>9}.{:01} s ago  {:<24} {}\n",
                ago.as_secs(),
                ago.subsec_millis() / 100,
                transition.place,
                transition.event
            ));
        }
        if text.is_empty() { "No transition yet\n".to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_forgets_the_oldest() {
        let mut history = History::default();
        for number in 0..HISTORY + 5 {
            history.push(Duration::from_secs(1), "x", number.to_string());
        }
        assert_eq!(history.iter().count(), HISTORY);
        assert_eq!(history.iter().next().unwrap().event, "5");
    }
}
