//! Snapshot windows: which commits are new, without missing a late one and without a table scan.
//!
//! A window reaches from the snapshot up to which everything was read to the present one. Its rows are those of transactions
//! that the old snapshot had not begun and the new one shows, plus those that were running in the old one and have finished.
//! They are read in `id` order, which is causal order because the sequence has CACHE 1 and a later event of an order draws
//! its id after the earlier one's trigger has run. Neither `(txid, id)` order nor `txid < xmin` will do: both invert orders,
//! and the latter stalls behind one forgotten transaction.

use tokio_postgres::types::Type;

use super::{ANSWER_SOON, DbError, PIN, PIN_ORDERED, Param, RawEvent, event_rows, pinned, statement::Way, within};

/// A `pg_snapshot`, as text `xmin:xmax:xip,..`. 64-bit transaction ids never wrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// As PostgreSQL prints it.
    pub text: String,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Parses what `pg_current_snapshot()::text` prints.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let xmin: u64 = parts.next()?.parse().ok()?;
        let xmax: u64 = parts.next()?.parse().ok()?;
        let running = parts.next()?;
        let running: Vec<u64> = if running.is_empty() { Vec::new() } else { running.split(',').map(str::parse).collect::<Result<_, _>>().ok()? };
        (xmin <= xmax && running.iter().all(|xid| (xmin..xmax).contains(xid))).then(|| Self { text: text.to_owned(), xmax, running })
    }

    /// Before everything.
    pub fn beginning() -> Self {
        Self { text: "1:1:".to_owned(), xmax: 1, running: Vec::new() }
    }

    /// Whether a transaction had finished (committed or not) in this view.
    pub fn shows(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }
}

/// What to read: everything that `to` shows and `from` does not.
#[derive(Clone, Debug)]
pub struct Window {
    from_xmax: u64,
    to: Snapshot,
    /// Running in `from`, finished in `to`.
    finished: Vec<String>,
}

impl Window {
    /// The window between two snapshots, `to` being the later one.
    pub fn between(from: &Snapshot, to: &Snapshot) -> Self {
        let finished = from.running.iter().filter(|xid| to.shows(**xid)).map(u64::to_string).collect();
        Self { from_xmax: from.xmax, to: to.clone(), finished }
    }
}

/// Rows of the window through the index on (txid, id). Parameters: 1 from.xmax, 2 to.xmax, 3 finished, 4 to.
const IN_WINDOW: &str = "
  select id, kind, ref, payload, occurred_at, txid from postback.event where txid >= $1::text::xid8 and txid < $2::text::xid8
  union all
  select id, kind, ref, payload, occurred_at, txid from postback.event where txid = any($3::text[]::xid8[])";

/// The present view, and whether the server is a standby (whose snapshots hide running transactions: never read there).
pub async fn now(way: Way<'_>) -> Result<(Snapshot, bool), DbError> {
    let row = &within(ANSWER_SOON, way.query("select pg_current_snapshot()::text, pg_is_in_recovery()", &[])).await?[0];
    let text: &str = row.get(0);
    let snapshot = Snapshot::parse(text).ok_or_else(|| DbError::Unexpected(format!("snapshot {text:?}")))?;
    Ok((snapshot, row.get(1)))
}

impl Window {
    /// The whole window in id order, or `None` when it holds more than `limit` rows and has to be read in pages.
    pub async fn read_whole(&self, way: Way<'_>, limit: usize) -> Result<Option<Vec<RawEvent>>, DbError> {
        let sql = format!(
            "select id, kind, ref, payload::text, occurred_at from ({IN_WINDOW}) w where pg_visible_in_snapshot(txid, $4::text::pg_snapshot) limit $5"
        );
        let (from_xmax, to_xmax, limit_rows) = (self.from_xmax.to_string(), self.to.xmax.to_string(), limit as i64 + 1);
        let rows = pinned(
            way,
            PIN,
            &sql,
            &[
                (&from_xmax, Type::TEXT),
                (&to_xmax, Type::TEXT),
                (&self.finished, Type::TEXT_ARRAY),
                (&self.to.text, Type::TEXT),
                (&limit_rows, Type::INT8),
            ],
        )
        .await?;
        if rows.len() > limit {
            return Ok(None);
        }
        let mut events = event_rows(&rows);
        events.sort_by_key(|event| event.id);
        Ok(Some(events))
    }

    /// The lowest id of a large window, by the index alone: paging by id from 0 would walk all that was ever kept.
    pub async fn lowest_id(&self, way: Way<'_>) -> Result<Option<i64>, DbError> {
        let sql = "
          select min(id) from (
            select id, txid from postback.event where txid >= $1::text::xid8 and txid < $2::text::xid8
            union all
            select id, txid from postback.event where txid = any($3::text[]::xid8[]) offset 0) w
          where pg_visible_in_snapshot(txid, $4::text::pg_snapshot)";
        let (from_xmax, to_xmax) = (self.from_xmax.to_string(), self.to.xmax.to_string());
        let params: [Param<'_>; 4] =
            [(&from_xmax, Type::TEXT), (&to_xmax, Type::TEXT), (&self.finished, Type::TEXT_ARRAY), (&self.to.text, Type::TEXT)];
        Ok(pinned(way, PIN, sql, &params).await?[0].get(0))
    }

    /// The next page behind `after`, in id order along the primary key.
    pub async fn read_page(&self, way: Way<'_>, after: i64, limit: usize) -> Result<Vec<RawEvent>, DbError> {
        let sql = "
          select id, kind, ref, payload::text, occurred_at from postback.event
           where id > $5 and (txid >= $1::text::xid8 and txid < $2::text::xid8 or txid = any($3::text[]::xid8[]))
             and pg_visible_in_snapshot(txid, $4::text::pg_snapshot)
           order by id limit $6";
        let (from_xmax, to_xmax, limit) = (self.from_xmax.to_string(), self.to.xmax.to_string(), limit as i64);
        let params: [Param<'_>; 6] = [
            (&from_xmax, Type::TEXT),
            (&to_xmax, Type::TEXT),
            (&self.finished, Type::TEXT_ARRAY),
            (&self.to.text, Type::TEXT),
            (&after, Type::INT8),
            (&limit, Type::INT8),
        ];
        Ok(event_rows(&pinned(way, PIN_ORDERED, sql, &params).await?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_what_postgres_prints() {
        let snapshot = Snapshot::parse("10:20:10,14,19").expect("a snapshot");
        assert!(snapshot.shows(9) && snapshot.shows(11) && !snapshot.shows(14) && !snapshot.shows(20));
        assert_eq!(Snapshot::parse("7:7:").expect("a snapshot").running, Vec::<u64>::new());
        for bad in ["", "1", "1:2", "2:1:", "1:2:x", "10:20:9", "10:20:20", "a:b:", "1:2:1,"] {
            assert_eq!(Snapshot::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = Snapshot::parse(&text);
        }

        /// Over any history of transactions, each lands in exactly one window: the one in which it is first seen finished.
        #[test]
        fn every_transaction_is_in_exactly_one_window(spans in prop::collection::vec((0u64..50, 1u64..50), 1..30), looks in prop::collection::btree_set(0u64..120, 1..12)) {
            // Transaction ids are drawn in order of begin.
            let mut spans: Vec<(u64, u64)> = spans.into_iter().map(|(begin, length)| (begin, begin + length)).collect();
            spans.sort_unstable();
            let view = |time: u64| {
                let begun = spans.iter().filter(|span| span.0 < time).count() as u64;
                let running: Vec<String> = spans.iter().enumerate().filter(|(_, s)| s.0 < time && s.1 >= time).map(|(i, _)| (i as u64 + 3).to_string()).collect();
                let xmin = running.first().cloned().unwrap_or_else(|| (begun + 3).to_string());
                Snapshot::parse(&format!("{xmin}:{}:{}", begun + 3, running.join(","))).expect("well-formed")
            };
            let mut from = Snapshot::beginning();
            let mut seen = vec![0; spans.len()];
            for time in looks.into_iter().chain([1000]) {
                let to = view(time);
                let window = Window::between(&from, &to);
                for (index, count) in seen.iter_mut().enumerate() {
                    let xid = index as u64 + 3;
                    let candidate = xid >= window.from_xmax && xid < to.xmax || window.finished.contains(&xid.to_string());
                    if candidate && to.shows(xid) { *count += 1; }
                }
                from = to;
            }
            prop_assert!(seen.iter().all(|count| *count == 1), "{seen:?}");
        }
    }
}
