//! Tells the service manager that all loops turn, and stops telling it when one does not.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{notify, pulse::Pulses};

/// Without a service manager that waits for it: how often it is looked whether all loops turn.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Begins, on a thread of its own, which a blocked runtime does not block.
pub fn start(pulses: Pulses) -> std::io::Result<()> {
    // More than once in its time: a ping that comes late must not kill.
    let every = notify::watchdog().map_or(LOOK_EVERY, |limit| (limit / 4).clamp(Duration::from_millis(50), LOOK_EVERY));
    thread::Builder::new().name("watchdog".into()).spawn(move || watch(&pulses, every)).map(drop)
}

fn watch(pulses: &Pulses, every: Duration) {
    let mut stuck = Vec::new();
    loop {
        let overdue = pulses.overdue(Instant::now());
        if overdue.is_empty() {
            notify::alive();
        }
        if overdue != stuck {
            match overdue.is_empty() {
                true => tracing::warn!("all loops turn again"),
                false => tracing::error!(loops = overdue.join(", "), "stuck; the service manager's watchdog is not answered until this is over"),
            }
            stuck = overdue;
        }
        thread::sleep(every);
    }
}
