//! Loop two, one task per destination: stream -> judge -> lane -> request -> wire -> verdict -> mark.
//!
//! The task outlives sessions: when the database is lost it keeps collecting answers, and when it is back it reads everything
//! else again from the tables. Database work (reading a page, reading facts, writing marks) runs beside the requests in
//! flight, one of each kind at a time, so that neither waits for the other.

mod ahead;
mod answers;
pub mod book;
mod confirm;
mod desk;
mod dispatch;
mod former;
mod gather;
mod open;
mod reading;
mod recording;
mod split;
mod wire;

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use self::recording::ahead;
use self::{
    desk::{Batch, Desk},
    dispatch::Judged,
    former::Former,
    gather::Gather,
    open::Doubt,
    reading::Page,
    wire::{Back, Wire},
};
use crate::{
    breaker::Breaker,
    destination::Destination,
    http::Transport,
    limit::Limit,
    marks::Move,
    metrics::Meter,
    outbox::{DbError, owner},
    pulse::{self, Pulse},
    session::Session,
};

/// Entries in memory that hold the position; no more are read while there are so many.
const WINDOW: usize = 500;
/// Marks are written together for so long, unless there are many or nothing else is going on.
const GATHER: Duration = Duration::from_millis(8);
/// A destination whose rows the database refuses is tried again after this.
const SIT_OUT: Duration = Duration::from_secs(10);
/// A write under way at the end of a drain gets so much longer.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// A position that moved over entries without marks is written this late at most.
const POSITION_LAG: Duration = Duration::from_secs(1);

/// What a destination's task is told from outside.
#[derive(Debug)]
pub struct Control {
    /// The owner's present session, or none.
    pub sessions: watch::Receiver<Option<Arc<Session>>>,
    /// No new requests; what is in flight is drained for at most `drain`.
    pub stop: CancellationToken,
    /// See `stop`.
    pub drain: Duration,
    /// A person's command changed rows: read them again.
    pub reload: Arc<Notify>,
    /// Says that this task turns.
    pub pulse: Pulse,
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
    meter: Arc<Meter>,
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
    pub fn new(to: Arc<Destination>, transport: Arc<dyn Transport>, limit: Limit, meter: Arc<Meter>) -> Self {
        let breaker = Breaker::new(to.limits);
        Self {
            to,
            limit,
            breaker,
            wire: Wire::new(Arc::clone(&meter)),
            stash: Vec::new(),
            doubt: None,
            announced: HashSet::new(),
            gate: None,
            gather: Gather::default(),
            former: Former::default(),
            transport,
            meter,
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
            control.pulse.rest();
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
        control.pulse.within(SIT_OUT);
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
        let mut epoch = 0;
        for name in &names {
            match self.take(session, control, name).await? {
                Some(drawn) => epoch = drawn,
                None => return Ok(true),
            }
        }
        let served = self.serve_as(session, epoch, control).await;
        self.meter.left();
        control.pulse.within(pulse::ANSWERS);
        if matches!(served, Ok(true)) {
            session.keeper.give_back(&self.to.name).await?;
        }
        served
    }

    /// Waits until nobody else works a destination; `None`: told to stop meanwhile.
    async fn take(&mut self, session: &Arc<Session>, control: &Control, name: &Arc<str>) -> Result<Option<i64>, DbError> {
        let mut told = false;
        loop {
            // Every destination asks, one after the other.
            control.pulse.within(pulse::ANSWERS);
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
                () = tokio::time::sleep(owner::TRY_EVERY) => {}
            }
        }
    }

    async fn serve_as(&mut self, session: &Arc<Session>, epoch: i64, control: &Control) -> Result<bool, DbError> {
        let mut grown = session.watch();
        // Not given up when the session is lost: what a claim has found must be known, and each of its steps ends by itself.
        control.pulse.within(pulse::ANSWERS);
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

    async fn work(&mut self, desk: &mut Desk, works: &mut Works, grown: &mut watch::Receiver<i64>, control: &Control) -> Result<bool, DbError> {
        let session = Arc::clone(&desk.session);
        let mut drain_until: Option<Instant> = None;
        let mut reloading = false;
        loop {
            let now = Instant::now();
            self.meter.worked(self.breaker.state(now));
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
                    control.pulse.within(pulse::ANSWERS);
                    recording::leave(desk, &self.to.name).await?;
                    return Ok(true);
                }
                // What is still on the wire is maybe-sent for whoever comes next; a write that hangs must not hold the stop.
                if now >= until && (works.written.is_none() || now >= until + LAST_WRITE) {
                    return Ok(true);
                }
            }
            let wake = self.next_look(desk, works, now, drain_until);
            control.pulse.until(wake);
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
