//! Loop two, one task per destination: stream -> judge -> lane -> request -> wire -> verdict -> mark.
//!
//! The task outlives sessions: when the database is lost it keeps collecting answers, and when it is back it reads everything
//! else again from the tables. Database work (reading a page, reading facts, writing marks) runs beside the requests in
//! flight, one of each kind at a time, so that neither waits for the other.

mod ahead;
pub mod book;
mod confirm;
mod desk;
mod dispatch;
mod former;
mod gather;
mod split;
mod wire;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::{
    ahead::Ahead,
    book::{Book, Item},
    desk::{Answered, Batch, Desk},
    dispatch::Judged,
    former::Former,
    gather::Gather,
    wire::{Back, Wire},
};
use crate::{
    books::State,
    breaker::{Breaker, Signal, Ticket},
    destination::{Destination, Start},
    http::Transport,
    limit::Limit,
    marks::{Marks, Move, Waiting},
    outbox::{DbError, identity, position, stream},
    outcome::{Outcome, Reply, SendError},
    session::Session,
};

/// Entries in memory that hold the position; no more are read while there are so many.
const WINDOW: usize = 500;
/// Marks are written together for so long, unless there are many or nothing else is going on.
const GATHER: Duration = Duration::from_millis(8);
const GATHER_MAX: usize = 200;
/// How often a destination that another daemon works is tried for.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// A destination whose rows the database refuses is tried again after this.
const SIT_OUT: Duration = Duration::from_secs(10);
/// A write under way at the end of a drain gets so much longer.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// A position that moved over entries without marks is written this late at most.
const POSITION_LAG: Duration = Duration::from_secs(1);

/// A write whose answer was lost.
#[derive(Debug)]
struct Doubt {
    /// The answers that it records.
    backs: Vec<Back>,
    /// Any one of its attempts, which went through together: event, entry, how many the entry had before. `None`: it has none.
    entry: Option<(i64, i64, u32)>,
}

impl Doubt {
    fn about(batch: Batch, desk: &Desk) -> Self {
        let mut attempts = batch.marks.attempts.iter();
        let entry = attempts.find_map(|row| Some((row.event, row.seq, desk.book.item(row.seq)?.recorded)));
        Self { backs: batch.backs, entry }
    }
}

/// What a destination's task is told from outside.
#[derive(Clone, Debug)]
pub struct Control {
    /// The owner's present session, or none.
    pub sessions: watch::Receiver<Option<Arc<Session>>>,
    /// No new requests; what is in flight is drained for at most `drain`.
    pub stop: CancellationToken,
    /// See `stop`.
    pub drain: Duration,
    /// A person's command changed rows: read them again.
    pub reload: Arc<Notify>,
}

/// One destination.
pub struct Sender {
    to: Arc<Destination>,
    limit: Limit,
    breaker: Breaker,
    wire: Wire,
    /// Answers that are not recorded yet and whose session is gone.
    stash: Vec<Back>,
    /// The last write of a session that is gone, where nobody knows whether it went through.
    doubt: Option<Doubt>,
    /// At-most-once entries that were announced and have not been put on the wire since.
    announced: HashSet<i64>,
    /// No request before this: the rate limit or the fence said so.
    gate: Option<Instant>,
    /// How long what is ready has waited to share a request.
    gather: Gather,
    /// What a former process left in doubt.
    former: Former,
    transport: Arc<dyn Transport>,
}

type Work<T> = Option<Pin<Box<dyn Future<Output = Result<T, DbError>> + Send>>>;

/// Waits for work that is under way; for ever when there is none. Cancel-safe: the work stays where it is.
async fn done<T>(work: &mut Work<T>) -> Result<T, DbError> {
    match work {
        Some(running) => {
            let result = running.await;
            *work = None;
            result
        }
        None => std::future::pending().await,
    }
}

/// After a clean drain nothing is in doubt: the horizon goes back to the position, so that an order that is taken back while
/// the daemon is away can still be annulled.
async fn leave(desk: &Desk, destination: &str) -> Result<(), DbError> {
    let db = desk.session.pool.get().await?;
    // What was done out of order lies behind the position, and its attempts are looked for up to the horizon.
    let place = Move { horizon: desk.book.position().max(desk.highest_done), ..desk.next_move(0) };
    crate::outbox::complete::complete(&db, destination, place, &Marks::default()).await?;
    position::leave(&db, destination, desk.epoch).await
}

/// Whether everything that this answers is in the book, or was passed before it was read.
fn knows(desk: &Desk, back: &Back) -> bool {
    back.batch.iter().flat_map(wire::Sent::all).all(|seq| seq <= desk.book.read() || desk.book.item(seq).is_some())
}

/// A page of the stream, with what is recorded of its entries where a former process may have been at work.
type Page = (Arc<Vec<stream::Numbered>>, HashMap<i64, Vec<position::Recorded>>);

/// The database work of one session.
#[derive(Default)]
struct Works {
    page: Work<Page>,
    judged: Work<Judged>,
    written: Work<()>,
    writing: Option<(Batch, Move)>,
    heard: Work<confirm::Words>,
    /// No question of what became of accepted deliveries before this.
    ask_at: Option<Instant>,
    /// Nothing to read before this.
    read_again: Option<Instant>,
}

impl Sender {
    /// A destination that has sent nothing yet.
    pub fn new(to: Arc<Destination>, transport: Arc<dyn Transport>, limit: Limit) -> Self {
        let breaker = Breaker::new(to.limits);
        Self {
            to,
            limit,
            breaker,
            wire: Wire::default(),
            stash: Vec::new(),
            doubt: None,
            announced: HashSet::new(),
            gate: None,
            gather: Gather::default(),
            former: Former::default(),
            transport,
        }
    }

    /// Runs until it is stopped and drained.
    pub async fn run(mut self, mut control: Control) {
        loop {
            let session = control.sessions.borrow_and_update().clone().filter(|session| !session.lost.is_cancelled());
            if let Some(session) = session {
                match self.serve(&session, &control).await {
                    Ok(true) => return,
                    Ok(false) => continue,
                    Err(error) if error.is_about_the_data() => {
                        tracing::error!(destination = %self.to.name, error = %error, "deliveries cannot be recorded here; trying again in 10 s, the others go on");
                        self.sit_out(&control).await;
                        if control.stop.is_cancelled() {
                            return;
                        }
                        continue;
                    }
                    Err(error) => {
                        if !session.lost.is_cancelled() {
                            tracing::warn!(destination = %self.to.name, error = %error, "destination lost the database");
                        }
                        session.lost.cancel();
                    }
                }
            }
            tokio::select! {
                changed = control.sessions.changed() => if changed.is_err() { return },
                back = self.wire.next() => self.stash.push(back),
                // Without a database nothing more can be recorded; what is in flight is maybe-sent after the next start.
                () = control.stop.cancelled() => return,
            }
        }
    }

    /// Waits with the wire still read; what is wrong with one destination's rows must not end everybody's session.
    async fn sit_out(&mut self, control: &Control) {
        let over = tokio::time::sleep(SIT_OUT);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = control.stop.cancelled() => return,
                back = self.wire.next() => self.stash.push(back),
            }
        }
    }

    /// Serves one session. `Ok(true)`: stopped and drained; `Ok(false)`: read everything again.
    async fn serve(&mut self, session: &Arc<Session>, control: &Control) -> Result<bool, DbError> {
        // A former name's history is taken over, and nobody may be working it meanwhile.
        let names: Vec<Arc<str>> = self.to.was.as_deref().map(Arc::from).into_iter().chain([Arc::clone(&self.to.name)]).collect();
        let mut epoch = None;
        for name in &names {
            epoch = self.take(session, control, name).await?;
        }
        let Some(epoch) = epoch else { return Ok(true) };
        let served = self.serve_as(session, epoch, control).await;
        if matches!(served, Ok(true)) {
            session.keeper.give_back(&self.to.name).await?;
        }
        served
    }

    /// Waits until nobody else works a destination; `None`: told to stop meanwhile.
    async fn take(&mut self, session: &Arc<Session>, control: &Control, name: &Arc<str>) -> Result<Option<i64>, DbError> {
        let mut told = false;
        loop {
            if let Some(epoch) = session.keeper.take(name).await? {
                return Ok(Some(epoch));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(destination = %name, "standing by: another daemon works this destination");
            }
            tokio::select! {
                () = session.lost.cancelled() => return Err(DbError::SessionOver),
                () = control.stop.cancelled() => return Ok(None),
                back = self.wire.next() => self.stash.push(back),
                () = tokio::time::sleep(TRY_EVERY) => {}
            }
        }
    }

    async fn serve_as(&mut self, session: &Arc<Session>, epoch: i64, control: &Control) -> Result<bool, DbError> {
        let mut grown = session.watch();
        // Not given up when the session is lost: what a claim has found must be known, and each of its steps ends by itself.
        let mut desk = self.open(session, epoch).await?;
        let mut works = Works::default();
        let result = self.work(&mut desk, &mut works, &mut grown, control).await;
        // Answers whose marks are not known to be durable stay facts.
        if let Some((batch, _)) = works.writing.take() {
            self.doubt = Some(Doubt::about(batch, &desk));
        }
        self.stash.append(&mut desk.batch.backs);
        result
    }

    async fn open(&mut self, session: &Arc<Session>, epoch: i64) -> Result<Desk, DbError> {
        let mut db = session.pool.get().await?;
        let start = match self.to.start {
            Start::Now => None,
            Start::At(time) => Some(time),
            Start::Beginning => Some(jiff::Timestamp::UNIX_EPOCH),
        };
        let wanted = position::Wanted {
            name: &self.to.name,
            was: self.to.was.as_deref(),
            start,
            ahead: ahead(&self.to),
            settings: &self.to.digest,
            settle: session.settling.settle(),
            deadline: self.to.limits.deadline,
        };
        self.former.tried.push(epoch);
        let claimed = position::claim(&mut db, &session.keeper, epoch, &wanted).await?;
        // At once: the next claim would find nobody but this process, whatever fails below.
        if self.former.meet(epoch, &claimed, self.to.limits.deadline, Instant::now(), jiff::Timestamp::now()) {
            self.announced.clear();
        }
        if let Some(was) = &self.to.was {
            session.keeper.give_back(&was.as_str().into()).await?;
        }
        let now = Instant::now();
        let mut desk = Desk {
            session: Arc::clone(session),
            epoch,
            begins: self.former.begins.map_or(now, |begins| begins.max(now)),
            seq: claimed.seq,
            horizon: claimed.horizon,
            stopped: claimed.paused || claimed.halted.is_some(),
            recorded_up_to: claimed.old_horizon,
            highest_done: claimed.old_horizon,
            ended_unread: HashSet::new(),
            book: Book::at(0),
            batch: Batch::default(),
            ahead: Ahead::default(),
            first_mark: None,
            slow_at: now,
            written: now,
        };
        let rows = position::open_rows(&db, &self.to.name).await?;
        self.resolve_doubt(&db).await?;
        self.former.lost = identity::lost(&db, &self.to.name).await?;
        drop(db);
        self.former.remember(&rows);
        for position::OpenRow { row, kind, cause, recorded } in rows {
            let wait = row.next_at.map(|at| at.duration_since(jiff::Timestamp::now())).filter(|wait| wait.is_positive());
            let lost = self.former.lost_row(&row, cause);
            desk.book.add(Item {
                seq: row.seq,
                event_id: row.event,
                kind,
                lane: row.order_ref,
                cause,
                event: None,
                tries: u32::try_from(row.attempts).unwrap_or(0),
                recorded: u32::try_from(recorded).unwrap_or(0),
                maybe_sent: self.former.rows.contains(&row.seq) || lost,
                lost,
                row: Some(row.state),
                due: wait.map(|wait| now + wait.unsigned_abs()),
                busy: self.has_answer_or_wire(row.seq),
                since: now,
            });
        }
        // Rows may lie behind the position (they were read once) but never ahead of it, so reading goes on at the position.
        desk.book.read_from(claimed.seq);
        self.settle_stash(&mut desk, now);
        self.resolve_sending(&mut desk, now);
        Ok(desk)
    }

    /// The position is claimed: a write of a former session has gone through by now or never will. Recorded twice, an answer
    /// would count twice.
    async fn resolve_doubt(&mut self, db: &tokio_postgres::Client) -> Result<(), DbError> {
        let Some(doubt) = &self.doubt else { return Ok(()) };
        let went_through = match doubt.entry {
            None => false,
            Some((event, seq, before)) => {
                let recorded = position::recorded(db, &self.to.name, &[event]).await?;
                recorded.iter().filter(|row| row.seq == seq).count() > before as usize
            }
        };
        if let Some(doubt) = self.doubt.take().filter(|_| !went_through) {
            self.stash.extend(doubt.backs);
        }
        Ok(())
    }

    /// Its fate is known or under way in this process.
    fn has_answer_or_wire(&self, seq: i64) -> bool {
        self.wire.has(seq) || self.stash.iter().any(|back| back.batch.iter().any(|sent| sent.all().any(|all| all == seq)))
    }

    /// An at-most-once delivery that was being sent when its process was lost: nobody knows, so a person decides. What this
    /// process announced and never sent is sent now.
    fn resolve_sending(&mut self, desk: &mut Desk, now: Instant) {
        let sending = desk.book.with_row(Waiting::Sending);
        self.announced.retain(|seq| sending.contains(seq));
        for seq in sending {
            if self.announced.contains(&seq) {
                if let Some(item) = desk.book.item_mut(seq) {
                    item.tries = item.tries.saturating_sub(1);
                }
                // Nobody may take it before its row says so.
                desk.book.hold(seq);
                desk.wait(seq, Waiting::Retrying, Duration::ZERO, "not sent yet".into(), true, now);
            } else if !self.wire.has(seq) && desk.book.item(seq).is_some_and(|item| !item.busy) {
                let why = "the daemon was lost between request and answer, and the platform counts every request";
                desk.finish(seq, State::Unknown, Some(why.into()), None, None, now);
            }
        }
    }

    async fn work(&mut self, desk: &mut Desk, works: &mut Works, grown: &mut watch::Receiver<i64>, control: &Control) -> Result<bool, DbError> {
        let session = Arc::clone(&desk.session);
        let mut drain_until: Option<Instant> = None;
        let mut reloading = false;
        loop {
            let now = Instant::now();
            desk.book.wake(now);
            if drain_until.is_none() && !reloading {
                self.read(desk, works, now);
                self.launch_judged(desk, now);
                self.judge(desk, works, now);
                if works.heard.is_none() && works.ask_at.is_none_or(|at| now >= at) {
                    works.heard = self.ask(desk);
                    works.ask_at = Some(now + confirm::LOOK_EVERY);
                }
            }
            let full = now >= desk.begins && desk.book.unpassed() >= WINDOW || !desk.book.has_ready(desk.horizon) && desk.book.has_ready(i64::MAX);
            desk.spill(&self.to, self.breaker.state(now) == "closed", full, now);
            self.write(desk, works, now);
            let quiet = works.judged.is_none() && works.written.is_none() && desk.batch.marks.is_empty() && desk.batch.fates.is_empty();
            if reloading && quiet {
                return Ok(false);
            }
            if let Some(until) = drain_until {
                if quiet && self.wire.is_empty() {
                    leave(desk, &self.to.name).await?;
                    return Ok(true);
                }
                // What is still on the wire is maybe-sent for whoever comes next; a write that hangs must not hold the stop.
                if now >= until && (works.written.is_none() || now >= until + LAST_WRITE) {
                    return Ok(true);
                }
            }
            let wake = self.next_look(desk, works, now, drain_until);
            tokio::select! {
                biased;
                // 1. The session is over: everything cached is void.
                () = session.lost.cancelled() => return Err(DbError::SessionOver),
                // 2. Marks became durable: lanes go on, at-most-once requests start.
                result = done(&mut works.written) => {
                    result?;
                    self.written(desk, works, Instant::now());
                }
                // 3. An answer: facts first.
                back = self.wire.next() => {
                    let now = Instant::now();
                    self.came_back(desk, back, now);
                    // With all others that are there: every turn of this loop has its price.
                    while let Some(back) = self.wire.next().now_or_never() {
                        self.came_back(desk, back, now);
                    }
                }
                // 4. Facts for the next requests.
                judged = done(&mut works.judged) => self.dispatch(desk, judged?, Instant::now()),
                // 5. More of the stream.
                page = done(&mut works.page) => self.take_in(desk, works, page?, Instant::now()),
                // 6. What platforms say of what they took before.
                words = done(&mut works.heard) => self.heard(desk, words?, Instant::now()),
                // 7. The stream grew.
                _ = grown.changed() => works.read_again = None,
                // 8. A person changed something.
                () = control.reload.notified() => reloading = true,
                // 9. No more requests; what is in flight may end.
                () = control.stop.cancelled(), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + control.drain);
                    desk.stopped = true;
                }
                // 10. Something is due.
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn next_look(&self, desk: &Desk, works: &Works, now: Instant, drain_until: Option<Instant>) -> Instant {
        let later = now + Duration::from_secs(1);
        let ready = !desk.stopped && desk.book.has_ready(desk.horizon);
        let candidates = [
            desk.book.next_due(),
            works.read_again.filter(|at| *at > now),
            drain_until.filter(|until| *until > now),
            desk.first_mark.filter(|_| works.written.is_none()).map(|first| first + GATHER),
            self.breaker.next(now).filter(|_| ready),
            self.gate.filter(|gate| ready && *gate > now),
            self.gather.due(self.to.platform.facts().batch_wait).filter(|due| ready && *due > now),
            Some(desk.begins).filter(|begins| ready && *begins > now),
        ];
        candidates.into_iter().flatten().fold(later, Instant::min).max(now)
    }

    /// Starts reading the next page, when there is room for it.
    fn read(&self, desk: &Desk, works: &mut Works, now: Instant) {
        if works.page.is_some() || desk.stopped || desk.book.unpassed() >= WINDOW || works.read_again.is_some_and(|at| now < at) {
            return;
        }
        let settled = desk.session.settling.settled(now);
        let (after, maybe) = (desk.book.read(), self.former.up_to);
        if settled.sure.max(settled.perhaps) <= after {
            works.read_again = desk.session.settling.next(after, now);
            return;
        }
        works.read_again = None;
        let (session, name, seq) = (Arc::clone(&desk.session), Arc::clone(&self.to.name), desk.recorded_up_to);
        works.page = Some(Box::pin(async move {
            let db = session.pool.get().await?;
            let page = session.cache.read(&db, after, settled).await?;
            let doubtful: Vec<i64> = page.iter().filter(|entry| entry.seq <= maybe.max(seq)).map(|entry| entry.event_id).collect();
            let mut recorded: HashMap<i64, Vec<position::Recorded>> = HashMap::new();
            if !doubtful.is_empty() {
                for row in position::recorded(&db, &name, &doubtful).await? {
                    recorded.entry(row.event).or_default().push(row);
                }
            }
            Ok((page, recorded))
        }));
    }

    fn take_in(&mut self, desk: &mut Desk, works: &mut Works, (page, recorded): Page, now: Instant) {
        works.read_again = match page.last() {
            Some(_) => None,
            None => desk.session.settling.next(desk.book.read(), now).or(Some(now + POSITION_LAG)).map(|at| at.max(now + Duration::from_millis(5))),
        };
        for entry in page.iter() {
            desk.book.read_up_to(entry.seq);
            let here = entry.only.as_ref().is_none_or(|only| only.iter().any(|name| **name == *self.to.name));
            if desk.ended_unread.remove(&entry.seq) || !here {
                continue;
            }
            let rows = recorded.get(&entry.event_id).map_or(&[][..], Vec::as_slice);
            if rows.iter().any(|row| row.seq == entry.seq && row.outcome != State::Retry) || desk.book.item(entry.seq).is_some() {
                continue;
            }
            let tries = u32::try_from(rows.iter().filter(|row| row.seq == entry.seq).count()).unwrap_or(u32::MAX);
            let lost = self.former.lost_entry(entry.event_id, entry.cause);
            desk.book.add(Item {
                seq: entry.seq,
                event_id: entry.event_id,
                kind: entry.event.as_ref().ok().map(|event| event.kind),
                lane: Arc::clone(&entry.reference),
                cause: entry.cause,
                event: Some(entry.event.clone()),
                tries,
                recorded: tries,
                maybe_sent: entry.seq <= self.former.up_to || lost,
                lost,
                row: None,
                due: None,
                busy: self.has_answer_or_wire(entry.seq),
                since: now,
            });
        }
        self.settle_stash(desk, now);
    }

    /// Starts writing, when there is enough to write or nothing to wait for.
    fn write(&mut self, desk: &mut Desk, works: &mut Works, now: Instant) {
        if works.written.is_some() {
            return;
        }
        let place = desk.next_move(ahead(&self.to));
        let batch = &desk.batch;
        let something = !batch.marks.is_empty() || !batch.fates.is_empty();
        let gathered = desk.first_mark.is_some_and(|first| now >= first + GATHER) || batch.fates.len() >= GATHER_MAX;
        let idle = self.wire.is_empty() && works.judged.is_none();
        let moved = place.to > place.from && (now >= desk.written + POSITION_LAG || place.to - place.from >= ahead(&self.to) / 2);
        if !(something && (gathered || idle) || moved) {
            return;
        }
        let batch = std::mem::take(&mut desk.batch);
        desk.first_mark = None;
        desk.written = now;
        let marks = batch.marks.clone();
        let (session, name) = (Arc::clone(&desk.session), Arc::clone(&self.to.name));
        if let Some(why) = &marks.halted {
            tracing::error!(destination = %name, reason = %why, "destination halted; run \"postbackd resume {name}\" when it is mended");
        }
        works.writing = Some((batch, place));
        works.written = Some(Box::pin(async move {
            let db = session.pool.get().await?;
            crate::outbox::complete::complete(&db, &name, place, &marks).await
        }));
    }

    /// Marks are durable.
    fn written(&mut self, desk: &mut Desk, works: &mut Works, now: Instant) {
        let Some((batch, place)) = works.writing.take() else { return };
        desk.seq = place.to;
        desk.horizon = place.horizon;
        for attempt in &batch.marks.attempts {
            if let Some(item) = desk.book.item_mut(attempt.seq) {
                item.recorded += 1;
            }
        }
        for (seq, fate) in batch.fates {
            desk.book.apply(seq, fate);
        }
        batch.wakes.iter().for_each(|lane| desk.book.unpark(lane));
        for prepared in batch.launches {
            self.launch_announced(desk, prepared, now);
        }
    }

    /// Answers that came while there was no session, or whose marks were lost with it.
    fn settle_stash(&mut self, desk: &mut Desk, now: Instant) {
        let (known, unknown): (Vec<Back>, Vec<Back>) = std::mem::take(&mut self.stash).into_iter().partition(|back| knows(desk, back));
        self.stash = unknown;
        for back in known {
            self.came_back(desk, back, now);
        }
    }

    fn came_back(&mut self, desk: &mut Desk, mut back: Back, now: Instant) {
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
        // These say that the request was not taken; nothing else does. A 503 without a time may come from a gateway.
        let refused = |reply: &Reply| reply.status == 429 || reply.status == 503 && reply.header("retry-after").is_some();
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

/// How far a destination's horizon leads its position: what is in flight, and what went out while the last marks were written,
/// which takes some ten times as long as an answer from next door.
pub fn ahead(to: &Destination) -> i64 {
    let deliveries = to.limits.in_flight.saturating_mul(to.platform.facts().batch_max);
    i64::try_from(deliveries).unwrap_or(i64::MAX).saturating_mul(16).clamp(16, 1_024)
}

impl Sender {
    /// Takes ready fronts and starts reading their facts.
    fn judge(&mut self, desk: &mut Desk, works: &mut Works, now: Instant) {
        if works.judged.is_some() || desk.stopped || now < desk.begins || self.gate.is_some_and(|gate| now < gate) {
            return;
        }
        self.gate = None;
        let room = self.room_to_judge(desk, now);
        if room == 0 {
            return;
        }
        let facts = self.to.platform.facts();
        let most = facts.batch_max.min(WINDOW / 2);
        if !self.gather.may_begin(desk.book.ready(most, desk.horizon), most, &facts, now) {
            return;
        }
        let fronts = desk.book.take(room.saturating_mul(facts.batch_max), desk.horizon);
        if fronts.is_empty() {
            return;
        }
        let groups = self.group(desk, fronts);
        works.judged = Some(dispatch::read_facts(Arc::clone(&desk.session), Arc::clone(&self.to.name), &desk.book, groups));
    }
}
