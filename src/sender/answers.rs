//! What came back from the wire becomes verdicts, one per delivery, and marks to be written.

use std::time::Instant;

use super::{
    Sender,
    desk::{Answered, Desk},
    wire::{self, Back},
};
use crate::{
    breaker::{Signal, Ticket},
    outcome::{Outcome, Reply, SendError},
};

/// Whether everything that this answers is in the book, or was passed before it was read.
fn knows(desk: &Desk, back: &Back) -> bool {
    back.batch.iter().flat_map(wire::Sent::all).all(|seq| seq <= desk.book.read() || desk.book.item(seq).is_some())
}

impl Sender {
    /// Answers that came while there was no session, or whose marks were lost with it.
    pub(super) fn settle_stash(&mut self, desk: &mut Desk, now: Instant) {
        let (known, unknown): (Vec<Back>, Vec<Back>) = std::mem::take(&mut self.stash).into_iter().partition(|back| knows(desk, back));
        self.stash = unknown;
        for back in known {
            self.came_back(desk, back, now);
        }
    }

    pub(super) fn came_back(&mut self, desk: &mut Desk, mut back: Back, now: Instant) {
        if !knows(desk, &back) {
            self.stash.push(back); // Its entry is not read yet in this session.
            return;
        }
        let deliveries = wire::deliveries(&back.batch);
        let (mut outcomes, status, maybe_arrived) = match &back.reply {
            Ok(reply) => (self.to.platform.outcome(&deliveries, reply, jiff::Timestamp::now()), Some(i32::from(reply.status)), true),
            Err(error) => {
                let (outcome, maybe_arrived) = match error {
                    SendError::NotSent(why) => (Outcome::retry(why.as_str()), false),
                    SendError::MaybeSent(why) => (Outcome::retry(why.as_str()), true),
                    SendError::NoToken { why, fix } => (Outcome::halted(why, fix), false),
                    SendError::Unsendable(why) => (Outcome::Rejected { why: why.clone() }, false),
                };
                (vec![outcome; deliveries.len()], None, maybe_arrived)
            }
        };
        // An adapter that forgets one must not leave it hanging.
        outcomes.resize(deliveries.len(), Outcome::retry("the adapter gave no verdict"));
        drop(deliveries);
        if let Some(ticket) = back.ticket.take() {
            self.tell_breaker(ticket, Signal::of(&back.reply, &outcomes), now);
        }
        // What was sent again is no part of this answer any more, also when it is looked at again in a later session.
        outcomes = match &back.verdicts {
            Some(left) => left.clone(),
            None => self.split(desk, &mut back, outcomes, now),
        };
        let reached = maybe_arrived;
        // These say that the request was not taken; nothing else does, but for a platform's own words. A 503 without a time may come from a gateway.
        let refused =
            |reply: &Reply| reply.status == 429 || reply.status == 503 && reply.header("retry-after").is_some() || self.to.platform.refused(reply);
        let maybe_arrived = reached && !back.reply.as_ref().is_ok_and(refused);
        for (sent, outcome) in back.batch.iter().zip(outcomes) {
            for seq in sent.all() {
                // An answer that comes in a later session finds its entry waiting there.
                desk.book.hold(seq);
            }
            let answered = Answered { sent, outcome, reached, maybe_arrived, status, took: back.took };
            desk.settle(&self.to, answered, rand::random(), now);
        }
        if !back.batch.is_empty() {
            desk.batch.backs.push(back);
        }
    }

    fn tell_breaker(&mut self, ticket: Ticket, signal: Signal, now: Instant) {
        let before = self.breaker.state(now);
        self.breaker.report(ticket, signal, now, rand::random());
        if before != "open" && self.breaker.state(now) == "open" {
            tracing::warn!(destination = %self.to.name, "breaker open: the destination fails; its position waits and one delivery probes it");
        }
    }
}
