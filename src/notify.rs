//! What the service manager is told, by `sd_notify`. Where nobody listens nothing happens: the same binary runs under systemd, in a
//! container and in a terminal.

use std::time::Duration;

use sd_notify::NotifyState;

/// Started, or reloaded: a configuration is in force.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// One line for `systemctl status`. Never anything that may not be logged.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// A new configuration is being read; [`ready`] ends it, whatever came of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // Both in one message: newer service managers take one without a time for a fault.
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(error = %error, "the service manager is not told of the reload"),
    }
}

/// Stopping, which takes no longer than `most`, whatever the unit's own limit is.
pub fn stopping(most: Duration) {
    let most = u32::try_from(most.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Stopping, NotifyState::Status("stopping: requests in flight may end"), NotifyState::ExtendTimeoutUsec(most)]);
}

/// All is well. Without this the service manager kills the process after a while.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How long the service manager waits for [`alive`], if it does at all.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(error = %error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_status_cannot_say_anything_else() {
        assert_eq!(super::one_line("lost\nSTOPPING=1\r"), "lost STOPPING=1 ");
    }
}
