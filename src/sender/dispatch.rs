//! From ready fronts to requests: facts, judgement, batch, wire.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Sender,
    book::{Book, Fate, Item},
    desk::Desk,
    wire::{self, Prepared, Sent},
};
use crate::{
    books::{Facts, State},
    breaker::Ticket,
    clock::age,
    delivery::{RefundShape, Resend},
    destination::Mode,
    event::{Event, Kind},
    judge::{self, Judgement, Question},
    marks::Waiting,
    outbox::{DbError, facts, stream},
    platform::Refusal,
    session::Session,
};

/// A closed fence or gate is looked at again after this.
const SHORTLY: Duration = Duration::from_millis(20);

/// A front, and the refunds right behind it that one restatement would say too; in stream order.
type Group = Vec<i64>;

/// Groups with their events and facts.
pub struct Judged {
    groups: Vec<Group>,
    events: HashMap<i64, Result<Arc<Event>, String>>,
    facts: Facts,
}

/// Reads what judging needs; events that wait without being in memory too.
pub fn read_facts(
    session: Arc<Session>,
    destination: Arc<str>,
    book: &Book,
    groups: Vec<Group>,
) -> Pin<Box<dyn Future<Output = Result<Judged, DbError>> + Send>> {
    let items: Vec<_> = groups.iter().flatten().filter_map(|seq| book.item(*seq)).collect();
    let missing: Vec<i64> = items.iter().filter(|item| item.event.is_none()).map(|item| item.event_id).collect();
    let mut events: HashMap<i64, Result<Arc<Event>, String>> = items.iter().filter_map(|item| Some((item.event_id, item.event.clone()?))).collect();
    // Told for the first time, and nothing that follows a purchase: the reader has just seen all that matters.
    let first_words: Option<Vec<_>> = items.iter().map(|item| first_word(item)).collect();
    if let Some(facts) = first_words.and_then(|words| session.handed.facts(words.into_iter(), session.last_seq())) {
        return Box::pin(std::future::ready(Ok(Judged { groups, events, facts })));
    }
    let history: HashMap<i64, bool> = items.iter().map(|item| (item.event_id, has_history(item))).collect();
    Box::pin(async move {
        let db = session.pool.get().await?;
        if !missing.is_empty() {
            events.extend(stream::events(&db, &missing).await?);
        }
        let about: Vec<facts::About<'_>> = events
            .iter()
            .filter_map(|(id, event)| Some(facts::About { event: event.as_ref().ok()?, has_history: history.get(id).copied().unwrap_or(true) }))
            .collect();
        let facts = if about.is_empty() { Facts::default() } else { facts::read(&db, &destination, &about).await? };
        Ok(Judged { groups, events, facts })
    })
}

/// It may have rows of its own at the destination: it was tried, or stands in the stream again.
fn has_history(item: &Item) -> bool {
    item.row.is_some() || item.cause.is_some() || item.tries > 0 || item.maybe_sent
}

/// Number, kind and reference of what was not tried yet and does not depend on what was said before of its order.
fn first_word(item: &Item) -> Option<(i64, Kind, &str)> {
    let kind = item.kind.filter(|kind| *kind == Kind::Purchase || kind.is_plain())?;
    (!has_history(item) && item.event.is_some()).then_some((item.seq, kind, &*item.lane))
}

impl Sender {
    /// A restatement says all waiting refunds of its order at once.
    pub(super) fn group(&self, desk: &mut Desk, fronts: Vec<i64>) -> Vec<Group> {
        let restates = self.to.platform.facts().refund == RefundShape::Restate;
        let mut group = |front: i64| {
            let takes_back = desk.book.item(front).is_some_and(|item| item.cause.is_none() && item.kind.is_some_and(Kind::takes_back));
            let mut group = vec![front];
            if restates && takes_back {
                group.extend(desk.book.take_followers(front, desk.horizon));
            }
            group
        };
        fronts.into_iter().map(&mut group).collect()
    }

    /// Judges and acts.
    pub(super) fn dispatch(&mut self, desk: &mut Desk, judged: Judged, now: Instant) {
        let Judged { groups, events, facts } = judged;
        let mut sends: Vec<Sent> = Vec::new();
        for mut group in groups {
            // The last of a group speaks for all, unless it has nothing to say.
            while let Some(lead) = group.pop() {
                let judgement = self.judge_one(desk, lead, &events, &facts);
                match judgement {
                    Judgement::Send { delivery, uncertain } => {
                        sends.push(Sent { seq: lead, covers: std::mem::take(&mut group), delivery: *delivery, uncertain });
                    }
                    _ if !group.is_empty() => desk.book.give_back(lead, None),
                    other => self.act(desk, lead, other, now),
                }
            }
        }
        for prepared in self.prepare(desk, sends, now) {
            let counts = |sent: &Sent| self.to.platform.resend(sent.delivery.event.kind) == Resend::Never;
            if prepared.batch.iter().any(counts) {
                self.announce(desk, prepared, now);
            } else {
                desk.ahead.push(prepared, now);
            }
        }
        self.launch_judged(desk, now);
    }

    /// Requests for which facts may be read now: what the wire has room for and, while all goes well, what it will have room for
    /// soon. Half of those may go before more are looked for, so that each look is for many.
    pub(super) fn room_to_judge(&self, desk: &Desk, now: Instant) -> usize {
        let steady = self.breaker.state(now) == "closed" && self.limit.rate().is_none() && self.to.platform.facts().resend != Resend::Never;
        let soon = if steady { desk.ahead.room(now) } else { 0 };
        let waiting = desk.ahead.len();
        if waiting > soon / 2 { 0 } else { (self.breaker.room(now) + soon).saturating_sub(waiting) }
    }

    /// Puts what is judged on the wire, as far as there is room; what waited too long is judged again.
    pub(super) fn launch_judged(&mut self, desk: &mut Desk, now: Instant) {
        while let Some(fresh) = desk.ahead.is_fresh(now) {
            if fresh && self.breaker.room(now) == 0 && self.breaker.state(now) == "closed" {
                return;
            }
            let Some(prepared) = desk.ahead.pop() else { return };
            if fresh {
                self.launch(desk, prepared, now);
            } else {
                self.put_back(desk, &prepared, now, now);
            }
        }
    }

    fn judge_one(&self, desk: &Desk, seq: i64, events: &HashMap<i64, Result<Arc<Event>, String>>, facts: &Facts) -> Judgement {
        let Some(item) = desk.book.item(seq) else { return Judgement::Keep };
        let event = match events.get(&item.event_id) {
            Some(Ok(event)) => event,
            Some(Err(why)) => return Judgement::Dead(why.clone()),
            None => return Judgement::Dead("past retention".into()),
        };
        // When a lost process sent it nobody knows, but not before it happened.
        let maybe_since = if item.lost { Some(event.occurred_at) } else { self.former.since };
        let settings_changed = self.former.settings_changed;
        let (cause, tries, maybe_sent) = (item.cause, item.tries, item.maybe_sent);
        let lost_until = self.former.lost.filter(|_| item.lost).map(|lost| lost.at);
        let question = Question { event, seq, cause, tries, maybe_sent, maybe_since, settings_changed, lost_until };
        judge::judge(&question, facts, &self.to, Timestamp::now())
    }

    fn act(&self, desk: &mut Desk, seq: i64, judgement: Judgement, now: Instant) {
        match judgement {
            Judgement::Send { .. } => {}
            Judgement::Skip(reason) => desk.finish(seq, State::Skipped, Some(reason), None, None, now),
            Judgement::Annul(reason) => desk.finish(seq, State::Annulled, Some(reason), None, None, now),
            Judgement::Dead(reason) => {
                tracing::warn!(destination = %self.to.name, seq, reason = %reason, "dead letter");
                desk.finish(seq, State::Dead, Some(reason), None, None, now);
            }
            Judgement::Unknown(reason) => desk.finish(seq, State::Unknown, Some(reason), None, None, now),
            Judgement::Hold { until, why } => {
                let wait = until.duration_since(Timestamp::now());
                let wait = if wait.is_positive() { wait.unsigned_abs() } else { Duration::ZERO };
                desk.wait(seq, Waiting::Held, wait, why, true, now);
            }
            Judgement::Park(reason) => desk.park(seq, reason, now),
            Judgement::Keep => desk.keep(seq, now),
        }
    }

    /// Batches and requests; what no request can be built for is decided here.
    fn prepare(&self, desk: &mut Desk, sends: Vec<Sent>, now: Instant) -> Vec<Prepared> {
        let most = self.to.platform.facts().batch_max.max(1);
        let mut batches: Vec<(Option<String>, Vec<Sent>)> = Vec::new();
        for sent in sends {
            let key = self.to.platform.batch_key(&sent.delivery);
            match batches.iter_mut().find(|(have, batch)| *have == key && batch.len() < most) {
                Some((_, batch)) => batch.push(sent),
                None => batches.push((key, vec![sent])),
            }
        }
        let mut prepared = Vec::new();
        for (_, batch) in batches {
            self.build(desk, batch, &mut prepared, now);
        }
        prepared
    }

    /// Requests out of a batch: one, or several where it is too large or some of it cannot be told.
    pub(super) fn build(&self, desk: &mut Desk, mut batch: Vec<Sent>, prepared: &mut Vec<Prepared>, now: Instant) {
        let most = self.to.platform.facts().bytes_max;
        let request = self.to.platform.request(&wire::deliveries(&batch), Timestamp::now());
        match request {
            Ok(request) if request.body.len() > most && batch.len() > 1 => {
                let rest = batch.split_off(batch.len() / 2);
                self.build(desk, batch, prepared, now);
                self.build(desk, rest, prepared, now);
            }
            Ok(request) if request.body.len() > most => {
                let why = format!("{} bytes, and {} takes {most} at most", request.body.len(), self.to.platform.platform());
                batch.iter().flat_map(Sent::all).for_each(|seq| self.act(desk, seq, Judgement::Dead(why.clone()), now));
            }
            Ok(_) if self.to.mode == Mode::Shadow => {
                for seq in batch.iter().flat_map(Sent::all) {
                    desk.finish(seq, State::Skipped, Some("shadow".into()), None, None, now);
                }
            }
            Ok(request) => prepared.push(Prepared { request, batch }),
            // Those that cannot be told must not take the others along.
            Err(_) if batch.len() > 1 => {
                let tellable = |sent: &Sent| self.to.platform.request(std::slice::from_ref(&sent.delivery), Timestamp::now()).is_ok();
                let (mut good, bad): (Vec<Sent>, Vec<Sent>) = batch.into_iter().partition(tellable);
                if bad.is_empty() {
                    // Each could be told alone.
                    let rest = good.split_off(good.len() / 2);
                    self.build(desk, rest, prepared, now);
                }
                bad.into_iter().for_each(|sent| self.build(desk, vec![sent], prepared, now));
                if !good.is_empty() {
                    self.build(desk, good, prepared, now);
                }
            }
            Err(refusal) => {
                for seq in batch.iter().flat_map(Sent::all) {
                    let judgement = match &refusal {
                        Refusal::Skip(reason) => Judgement::Skip(reason.clone()),
                        Refusal::Dead(reason) => Judgement::Dead(reason.clone()),
                    };
                    self.act(desk, seq, judgement, now);
                }
            }
        }
    }

    /// Whether a request may go on the wire now; else when to ask again. Takes one from the rate limit.
    fn admit(&mut self, desk: &Desk, now: Instant) -> Result<(), Duration> {
        if let Some(gate) = self.gate.filter(|gate| *gate > now) {
            return Err(gate.duration_since(now));
        }
        let admitted = if desk.stopped || !desk.session.fence.open() { Err(SHORTLY) } else { self.limit.check(now) };
        self.gate = admitted.err().map(|wait| now + wait);
        admitted
    }

    /// At most once: that it is being sent is durable before it is.
    fn announce(&mut self, desk: &mut Desk, prepared: Prepared, now: Instant) {
        if let Err(wait) = self.admit(desk, now) {
            return self.put_back(desk, &prepared, now + wait, now);
        }
        for seq in prepared.batch.iter().flat_map(Sent::all) {
            if let Some(item) = desk.book.item_mut(seq) {
                item.tries += 1;
            }
            self.announced.insert(seq);
            desk.give_row(seq, Waiting::Sending, None, None, now);
        }
        desk.batch.launches.push(prepared);
    }

    /// Puts a request on the wire whose announcement is durable, unless it must not begin any more.
    pub(super) fn launch_announced(&mut self, desk: &mut Desk, prepared: Prepared, now: Instant) {
        let ticket = if desk.stopped || !desk.session.fence.open() { None } else { self.breaker.start(now) };
        let Some(ticket) = ticket else {
            for seq in prepared.batch.iter().flat_map(Sent::all) {
                if let Some(item) = desk.book.item_mut(seq) {
                    item.tries = item.tries.saturating_sub(1);
                }
            }
            return self.put_back(desk, &prepared, now + SHORTLY, now);
        };
        self.put_on_wire(desk, prepared, ticket);
    }

    /// Puts a request on the wire, or its entries back where breaker, rate limit or fence say no.
    pub(super) fn launch(&mut self, desk: &mut Desk, prepared: Prepared, now: Instant) {
        let refused = match self.admit(desk, now) {
            Err(wait) => wait,
            Ok(()) => match self.breaker.start(now) {
                Some(ticket) => {
                    for seq in prepared.batch.iter().flat_map(Sent::all) {
                        if let Some(item) = desk.book.item_mut(seq) {
                            item.tries += 1;
                            item.since = now;
                        }
                    }
                    desk.ahead.launched(now);
                    return self.put_on_wire(desk, prepared, ticket);
                }
                None => SHORTLY,
            },
        };
        self.put_back(desk, &prepared, now + refused, now);
    }

    fn put_on_wire(&mut self, desk: &Desk, prepared: Prepared, ticket: Ticket) {
        for seq in prepared.batch.iter().flat_map(Sent::all) {
            self.announced.remove(&seq);
        }
        let first = |sent: &&Sent| desk.book.item(sent.seq).is_some_and(|item| item.tries == 1 && item.cause.is_none());
        for sent in prepared.batch.iter().filter(first) {
            self.meter.first.observe(age(sent.delivery.event.occurred_at));
        }
        self.wire.send(prepared, ticket, &self.transport, self.to.limits.deadline);
    }

    /// Gives entries back that could not be sent now.
    fn put_back(&self, desk: &mut Desk, prepared: &Prepared, due: Instant, now: Instant) {
        for seq in prepared.batch.iter().flat_map(Sent::all) {
            if desk.book.item(seq).is_some_and(|item| item.row == Some(Waiting::Sending)) {
                // It was announced as being sent and was not.
                desk.wait(seq, Waiting::Retrying, due.saturating_duration_since(now), "not sent yet".into(), true, now);
            } else {
                desk.book.apply(seq, Fate::Again(due));
            }
        }
    }
}
