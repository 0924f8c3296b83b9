//! Platforms that take first and process later: their last word is asked for, some time after the request, and recorded like a
//! verdict. Asking is harmless, so that nothing is remembered of it: what is lost with a session is asked again.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{Sender, desk::Desk};
use crate::{
    books::{Receipt, State},
    clock::age,
    delivery::{Awaiting, Confirm},
    destination::{Destination, Mode},
    http::Transport,
    limit::Limit,
    marks::{AttemptRow, PendingRow, Waiting},
    metrics::{Meter, Purpose},
    outbox::{
        DbError,
        confirm::{self, Due},
    },
    outcome::{Outcome, SendError},
    request::Request,
    session::Session,
};

/// How often it is looked whether something is due.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Deliveries and requests of one round: enough to keep up, and soon at its end.
const DELIVERIES_MAX: i64 = 1_000;
const REQUESTS_MAX: usize = 20;

/// Between two questions about the same delivery.
const LONGEST: Duration = Duration::from_secs(6 * 3_600);

/// What the platform said of each.
pub type Words = Vec<(Due, Outcome)>;
/// A round of questions.
pub type Asking = Pin<Box<dyn Future<Output = Result<Words, DbError>> + Send>>;

/// Deliveries that one question is about. Those about which nothing can be asked get no word, until their time is over.
fn questions(to: &Destination, due: Vec<Due>, words: &mut Words) -> Vec<(Request, Vec<Due>)> {
    let mut questions: Vec<(Request, Vec<Due>)> = Vec::new();
    for due in due {
        let Some(request) = to.platform.confirm(&due.awaiting) else {
            words.push((due, Outcome::Accepted { answer: None }));
            continue;
        };
        match questions.iter().position(|(have, _)| *have == request) {
            Some(same) => questions[same].1.push(due),
            None if questions.len() < REQUESTS_MAX => questions.push((request, vec![due])),
            None => {}
        }
    }
    questions
}

async fn ask(session: Arc<Session>, to: Arc<Destination>, transport: Arc<dyn Transport>, limit: Limit, meter: Arc<Meter>) -> Result<Words, DbError> {
    let db = session.pool.get().await?;
    let due = confirm::due(&db, &to.name, DELIVERIES_MAX).await?;
    drop(db);
    let mut words = Vec::new();
    for (request, due) in questions(&to, due, &mut words) {
        while let Err(wait) = limit.check(Instant::now()) {
            tokio::time::sleep(wait).await;
        }
        let began = Instant::now();
        let reply = transport.send(request, to.limits.deadline).await;
        meter.ended(Purpose::Confirm, &reply, began.elapsed());
        let awaiting: Vec<Awaiting> = due.iter().map(|due| due.awaiting.clone()).collect();
        let outcomes = match &reply {
            Ok(reply) => to.platform.confirmed(&awaiting, reply, Timestamp::now()),
            Err(SendError::NoToken { why, fix }) => vec![Outcome::halted(why, fix); due.len()],
            Err(error) => vec![Outcome::retry(error.to_string()); due.len()],
        };
        let enough = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Halted { .. } | Outcome::Retry { throttled: true, .. }));
        words.extend(due.into_iter().zip(outcomes));
        if enough {
            break;
        }
    }
    Ok(words)
}

impl Sender {
    /// A round of questions, where the platform can be asked.
    pub(super) fn ask(&self, desk: &Desk) -> Option<Asking> {
        let asks = self.to.platform.facts().confirm.is_some() && self.to.mode != Mode::Shadow && !desk.stopped;
        let (session, transport) = (Arc::clone(&desk.session), Arc::clone(&self.transport));
        asks.then(|| Box::pin(ask(session, Arc::clone(&self.to), transport, self.limit.clone(), Arc::clone(&self.meter))) as Asking)
    }

    /// Turns the answers into marks.
    pub(super) fn heard(&self, desk: &mut Desk, words: Words, now: Instant) {
        let Some(rule) = self.to.platform.facts().confirm else { return };
        for (due, outcome) in words {
            desk.confirm(due, outcome, rule, now);
        }
    }
}

impl Desk {
    /// Records the platform's word on what it took before. Whatever waits for it in its lane is judged again when that is durable.
    fn confirm(&mut self, due: Due, outcome: Outcome, rule: Confirm, now: Instant) {
        let age = age(due.since);
        // As long again as it has taken so far: the waits double.
        let later = rule.every.max(age.min(LONGEST));
        let wait = match outcome {
            Outcome::Delivered { answer, note } => {
                if let Some(answer) = answer {
                    let receipt = Receipt { sent: due.awaiting.said.clone(), answer: Some(answer), uncertain: false };
                    self.batch.marks.receipts.insert(due.awaiting.event, receipt);
                }
                return self.told(&due, State::Delivered, None, note, now);
            }
            Outcome::Rejected { why } | Outcome::Split { why } => return self.told(&due, State::Dead, Some(Waiting::Dead), Some(why), now),
            Outcome::Halted { why, fix } => {
                self.batch.marks.halted = Some(format!("{why}; {fix}"));
                self.stopped = true;
                later
            }
            Outcome::Retry { after, .. } => later.max(after.unwrap_or_default()),
            Outcome::Accepted { .. } => later,
        };
        if age >= rule.until {
            let why = format!("the platform took it and has not said within {} what became of it", crate::retry::words(rule.until));
            return self.told(&due, State::Unknown, Some(Waiting::Unknown), Some(why), now);
        }
        let next_at = Timestamp::now().saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).ok();
        self.pending_row(&due, Waiting::Accepted, next_at, None);
        self.first_mark.get_or_insert(now);
    }

    fn told(&mut self, due: &Due, state: State, waiting: Option<Waiting>, reason: Option<String>, now: Instant) {
        let (event, kind, seq) = (due.awaiting.event, due.kind, due.seq);
        self.batch.marks.attempts.push(AttemptRow { event, kind, seq, outcome: state, status: None, duration_ms: None, reason: reason.clone() });
        match waiting {
            Some(waiting) => self.pending_row(due, waiting, None, reason),
            None => _ = self.batch.marks.pending.insert(seq, None),
        }
        self.highest_done = self.highest_done.max(seq);
        self.batch.wakes.push(Arc::clone(&due.order_ref));
        self.first_mark.get_or_insert(now);
    }

    fn pending_row(&mut self, due: &Due, state: Waiting, next_at: Option<Timestamp>, reason: Option<String>) {
        let (event, seq, order_ref) = (due.awaiting.event, due.seq, Arc::clone(&due.order_ref));
        self.batch.marks.pending.insert(seq, Some(PendingRow { event, seq, order_ref, state, attempts: due.attempts, next_at, reason }));
    }
}
