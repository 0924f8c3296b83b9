//! A request that was refused as a whole for some of its deliveries: the others are sent again at once, in smaller requests.

use std::time::Instant;

use super::{
    Sender,
    desk::Desk,
    wire::{Back, Sent},
};
use crate::{marks::Waiting, outcome::Outcome};

/// What is sent again, in which company: without those whose verdict is known, or, where nobody's is, in halves.
fn parts(again: Vec<Sent>, whole: usize) -> Vec<Vec<Sent>> {
    if again.len() < whole || again.len() < 2 {
        return vec![again];
    }
    let mut first = again;
    let second = first.split_off(first.len().div_ceil(2));
    vec![first, second]
}

impl Sender {
    /// Takes what is to be sent again out of an answer and sends it; what is left has the verdicts that are returned. An answer that is looked
    /// at again in a later session holds only what is left.
    pub(super) fn split(&mut self, desk: &mut Desk, back: &mut Back, outcomes: Vec<Outcome>, now: Instant) -> Vec<Outcome> {
        let whole = back.batch.len();
        if whole < 2 || !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Split { .. })) {
            return outcomes;
        }
        let (mut again, mut left, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
        for (sent, outcome) in std::mem::take(&mut back.batch).into_iter().zip(outcomes) {
            if matches!(outcome, Outcome::Split { .. }) {
                again.push(sent);
            } else {
                left.push(sent);
                verdicts.push(outcome);
            }
        }
        back.batch = left;
        back.verdicts = Some(verdicts.clone());
        // Recorded already, by a commit whose answer was lost.
        again.retain(|sent| desk.book.item(sent.seq).is_some());
        let mut prepared = Vec::new();
        for part in parts(again, whole).into_iter().filter(|part| !part.is_empty()) {
            for seq in part.iter().flat_map(Sent::all) {
                desk.book.hold(seq);
                // Nothing of it was taken, so that it was no attempt.
                if let Some(item) = desk.book.item_mut(seq) {
                    item.tries = item.tries.saturating_sub(1);
                    if item.row == Some(Waiting::Sending) {
                        self.announced.insert(seq);
                    }
                }
            }
            self.build(desk, part, &mut prepared, now);
        }
        // Where the platform counts every request, that they are being sent is recorded already.
        for prepared in prepared {
            self.launch(desk, prepared, now);
        }
        verdicts
    }
}
