//! Which rooms, and how much in each.

use std::time::Duration;

use super::{drain, idle, latency, shop, wal};

/// A room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Room {
    Shop,
    Drain,
    Latency,
    Wal,
    Idle,
}

/// The rooms that are entered, in this order.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Plan {
    pub shop: Option<shop::Plan>,
    pub drain: Option<drain::Plan>,
    pub latency: Option<latency::Plan>,
    pub wal: Option<wal::Plan>,
    pub idle: Option<idle::Plan>,
}

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

impl Plan {
    /// Figures to decide by: about eight minutes.
    pub fn thorough() -> Self {
        Self {
            shop: Some(shop::Plan { rounds: 8, slice: 2 * SECOND, clients: 8, woken: true }),
            drain: Some(drain::Plan { rounds: 5, events: 20_000, in_flight: 32, transport: false }),
            latency: Some(latency::Plan { rounds: 3, events: 100, every: 200 * MS, silence: 5 * SECOND, silences: 5 }),
            wal: Some(wal::Plan { rounds: 3, events: 5_000, singles: 100, checkpoint: false }),
            idle: Some(idle::Plan { rounds: 3, events: 1_000, silence: 15 * SECOND, window: 10 * SECOND }),
        }
    }

    /// A first impression: about a minute.
    pub fn quick() -> Self {
        Self {
            shop: Some(shop::Plan { rounds: 4, slice: 700 * MS, clients: 8, woken: false }),
            drain: Some(drain::Plan { rounds: 3, events: 2_000, in_flight: 32, transport: false }),
            latency: Some(latency::Plan { rounds: 1, events: 40, every: 200 * MS, silence: 2 * SECOND, silences: 3 }),
            wal: Some(wal::Plan { rounds: 1, events: 1_000, singles: 25, checkpoint: false }),
            idle: Some(idle::Plan { rounds: 1, events: 200, silence: 3 * SECOND, window: 4 * SECOND }),
        }
    }

    /// Without the others.
    pub fn only(self, rooms: &[Room]) -> Self {
        Self {
            shop: self.shop.filter(|_| rooms.contains(&Room::Shop)),
            drain: self.drain.filter(|_| rooms.contains(&Room::Drain)),
            latency: self.latency.filter(|_| rooms.contains(&Room::Latency)),
            wal: self.wal.filter(|_| rooms.contains(&Room::Wal)),
            idle: self.idle.filter(|_| rooms.contains(&Room::Idle)),
        }
    }

    /// Another number of events in a backlog; no more single orders than that.
    pub fn events(&mut self, events: Option<u32>) {
        let Some(events) = events else { return };
        self.drain.iter_mut().for_each(|plan| plan.events = events);
        self.wal.iter_mut().for_each(|plan| plan.events = events);
        self.idle.iter_mut().for_each(|plan| plan.events = events);
        self.wal.iter_mut().for_each(|plan| plan.singles = plan.singles.min(events));
        self.latency.iter_mut().for_each(|plan| plan.events = plan.events.min(events));
    }

    /// Another number of rounds in every room.
    pub fn rounds(&mut self, rounds: Option<usize>) {
        let Some(rounds) = rounds else { return };
        self.shop.iter_mut().for_each(|plan| plan.rounds = rounds);
        self.drain.iter_mut().for_each(|plan| plan.rounds = rounds);
        self.latency.iter_mut().for_each(|plan| plan.rounds = rounds);
        self.wal.iter_mut().for_each(|plan| plan.rounds = rounds);
        self.idle.iter_mut().for_each(|plan| plan.rounds = rounds);
    }

    /// Another number of the shop's sessions.
    pub fn clients(&mut self, clients: Option<usize>) {
        if let (Some(plan), Some(clients)) = (&mut self.shop, clients) {
            plan.clients = clients;
        }
    }

    /// Another number of requests at the same time.
    pub fn in_flight(&mut self, in_flight: Option<usize>) {
        if let (Some(plan), Some(in_flight)) = (&mut self.drain, in_flight) {
            plan.in_flight = in_flight;
        }
    }

    /// Another silence.
    pub fn silence(&mut self, silence: Option<Duration>) {
        let Some(silence) = silence else { return };
        self.latency.iter_mut().for_each(|plan| plan.silence = silence);
        self.idle.iter_mut().for_each(|plan| plan.silence = silence);
    }

    /// Whether the WAL is measured behind a checkpoint too.
    pub fn checkpoint(&mut self, checkpoint: bool) {
        self.wal.iter_mut().for_each(|plan| plan.checkpoint |= checkpoint);
    }
}
