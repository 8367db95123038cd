//! Notifications to the service manager (sd_notify(3)): ready, alive, stopping. No-ops without a
//! service manager.

use std::process::Command;

use sd_notify::NotifyState;

/// Both processes work.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Both processes make progress. If this is missing for `WatchdogSec=`, the service manager
/// restarts the service.
pub(crate) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The service is stopping, by request or after a permanent error.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Child processes must not send notifications for the service.
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
