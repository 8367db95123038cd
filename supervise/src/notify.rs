//! Notifications to the service manager (sd_notify(3)): ready, alive, stopping. Without a service
//! manager nothing is sent.

use std::process::Command;

use sd_notify::NotifyState;

/// Both processes work.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Both processes still make progress. When this stays out for `WatchdogSec=`, the service manager
/// starts everything anew.
pub(crate) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The end was ordered, or something permanent came up.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The processes do not speak for the service.
pub(crate) fn keep_from(command: &mut Command) {
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager cannot be notified: {error}");
    }
}
