//! What the shop's commits add up to: once-only, generations, running totals, retraction. Pure.
//!
//! Events are folded in stream order. A purchase is said once per order, a refund once per (order, refund ref), anything
//! else once per (kind, ref). A purchase after a retract is a new generation. A refund without a sale waits; when the sale
//! comes (a backfill) it is booked and judged again. An over-refund is clamped to what is left and noted.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;

use crate::{
    books::{Cause, Changes, Entry, Facts, Known, Note, Refund, Sale, merge},
    event::{Event, Kind},
};

/// The part of the ledger that a page of events touches, with what folding changed in it.
#[derive(Debug, Default)]
pub struct Ledger {
    sales: HashMap<String, Vec<Sale>>,
    refunds: HashMap<String, BTreeMap<String, Refund>>,
    once: HashMap<(Kind, String), i64>,
    known_sales: HashSet<(String, i32)>,
    changed_sales: HashSet<(String, i32)>,
    changed_refunds: HashSet<(String, String)>,
    new_once: Vec<(Kind, String)>,
    entries: Vec<Entry>,
    notes: Vec<Note>,
    next_seq: i64,
}

impl Ledger {
    /// An empty page that begins at `next_seq`.
    pub fn at(next_seq: i64) -> Self {
        Self { next_seq, ..Self::default() }
    }

    /// Puts in what the database holds.
    pub fn know(&mut self, known: Known) {
        for sale in known.sales {
            self.known_sales.insert((sale.order_ref.clone(), sale.generation));
            self.know_sale(sale);
        }
        for refund in known.refunds {
            self.know_refund(refund);
        }
        self.once.extend(known.once.into_iter().map(|(kind, reference, event)| ((kind, reference), event)));
    }

    fn know_sale(&mut self, sale: Sale) {
        let sales = self.sales.entry(sale.order_ref.clone()).or_default();
        sales.push(sale);
        sales.sort_by_key(|sale| sale.generation);
    }

    fn know_refund(&mut self, refund: Refund) {
        self.refunds.entry(refund.order_ref.clone()).or_default().insert(refund.refund_ref.clone(), refund);
    }

    /// What judging an event of this page for the first time needs, where it is neither a refund nor anything else that follows a
    /// purchase: the sales of its order and who holds its key, as the database will have them.
    pub fn facts(&self) -> Facts {
        Facts { sales: self.sales.clone(), once: self.once.clone(), ..Facts::default() }
    }

    /// What has to be written.
    pub fn into_changes(self) -> Changes {
        let key = |sale: &Sale| (sale.order_ref.clone(), sale.generation);
        let changed = self.sales.into_values().flatten().filter(|sale| self.changed_sales.contains(&key(sale)));
        let (sales, new_sales) = changed.partition(|sale| self.known_sales.contains(&key(sale)));
        let changed_refund = |refund: &Refund| self.changed_refunds.contains(&(refund.order_ref.clone(), refund.refund_ref.clone()));
        let once = self.new_once.iter().map(|key| (key.0, key.1.clone(), self.once[key])).collect();
        Changes {
            sales,
            new_sales,
            refunds: self.refunds.into_values().flat_map(BTreeMap::into_values).filter(changed_refund).collect(),
            once,
            entries: self.entries,
            notes: self.notes,
        }
    }

    /// An event that cannot be read keeps its place in the stream; each destination marks it `dead: unreadable`.
    pub fn fold_unreadable(&mut self, id: i64) {
        self.append(id, None);
    }

    /// Books one event and appends it, with whatever has to be judged again because of it.
    pub fn fold(&mut self, event: &Event) {
        let seq = self.append(event.id, None);
        match event.kind {
            Kind::Purchase => self.purchase(event),
            Kind::Refund => self.refund(event),
            Kind::Retract => self.retract(event),
            Kind::Enrich => self.enrich(event, seq),
            _ => self.plain(event),
        }
    }

    fn append(&mut self, event: i64, cause: Option<Cause>) -> i64 {
        self.entries.push(Entry { event, cause });
        self.next_seq += 1;
        self.next_seq - 1
    }

    fn purchase(&mut self, event: &Event) {
        let sales = self.sales.entry(event.reference.clone()).or_default();
        let generation = match sales.last() {
            None => 1,
            Some(stub) if stub.event.is_none() => stub.generation,
            Some(sale) if sale.retracted.is_some() => sale.generation + 1,
            Some(_) => return, // said before
        };
        if sales.last().is_none_or(|sale| sale.generation != generation) {
            sales.push(Sale { order_ref: event.reference.clone(), generation, ..Sale::default() });
        }
        let Some(sale) = sales.last_mut() else { return };
        sale.event = Some(event.id);
        sale.value = event.value;
        sale.currency = event.currency;
        self.changed_sales.insert((event.reference.clone(), generation));
        self.book_waiting(&event.reference);
    }

    /// Refunds that came before their sale, in event order.
    fn book_waiting(&mut self, order_ref: &str) {
        let mut waiting: Vec<_> =
            self.refunds.get(order_ref).into_iter().flat_map(BTreeMap::values).filter(|r| r.total_after.is_none()).cloned().collect();
        waiting.sort_by_key(|refund| refund.event);
        for refund in waiting {
            let event = refund.event;
            self.book(refund);
            self.append(event, Some(Cause::Sale));
        }
    }

    fn refund(&mut self, event: &Event) {
        let (Some(refund_ref), Some(amount)) = (&event.refund_ref, event.value) else { return };
        if self.refunds.get(&event.reference).is_some_and(|refunds| refunds.contains_key(refund_ref)) {
            return; // said before
        }
        self.book(Refund {
            order_ref: event.reference.clone(),
            refund_ref: refund_ref.clone(),
            event: event.id,
            generation: None,
            amount,
            total_after: None,
        });
    }

    fn book(&mut self, mut refund: Refund) {
        if let Some(sale) = self.sales.get_mut(&refund.order_ref).and_then(|sales| sales.last_mut())
            && let Some(value) = sale.value
        {
            let left = if sale.retracted.is_some() { Decimal::ZERO } else { value - sale.refunded };
            if refund.amount > left && sale.retracted.is_none() {
                self.notes.push(Note {
                    what: format!("refund {} of order {}", refund.refund_ref, refund.order_ref),
                    message: format!("refund of {} is more than the {left} that was left of the sale; {left} was booked", refund.amount),
                });
            }
            refund.amount = refund.amount.min(left);
            sale.refunded += refund.amount;
            refund.generation = Some(sale.generation);
            refund.total_after = Some(sale.refunded);
            self.changed_sales.insert((sale.order_ref.clone(), sale.generation));
        }
        self.changed_refunds.insert((refund.order_ref.clone(), refund.refund_ref.clone()));
        self.know_refund(refund);
    }

    fn retract(&mut self, event: &Event) {
        let Some(sale) = self.sales.get_mut(&event.reference).and_then(|sales| sales.last_mut()) else { return };
        if sale.event.is_some() && sale.retracted.is_none() {
            sale.retracted = Some(event.id);
            self.changed_sales.insert((sale.order_ref.clone(), sale.generation));
        }
    }

    fn enrich(&mut self, event: &Event, seq: i64) {
        let sales = self.sales.entry(event.reference.clone()).or_default();
        if sales.is_empty() {
            sales.push(Sale { order_ref: event.reference.clone(), generation: 1, ..Sale::default() });
        }
        let Some(sale) = sales.last_mut() else { return };
        merge(&mut sale.who, &event.who);
        sale.who_seq = Some(seq);
        let (purchase, generation, retracted) = (sale.event, sale.generation, sale.retracted);
        self.changed_sales.insert((event.reference.clone(), generation));
        let Some(purchase) = purchase else { return };
        self.append(purchase, Some(Cause::Enrich));
        let mut refunds: Vec<i64> = self
            .refunds
            .get(&event.reference)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|refund| refund.generation == Some(generation))
            .map(|refund| refund.event)
            .collect();
        refunds.sort_unstable();
        for event in refunds.into_iter().chain(retracted) {
            self.append(event, Some(Cause::Enrich));
        }
    }

    fn plain(&mut self, event: &Event) {
        let key = (event.kind, event.reference.clone());
        if !self.once.contains_key(&key) {
            self.once.insert(key.clone(), event.id);
            self.new_once.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn event(id: i64, kind: &str, payload: &str) -> Event {
        Event::decode(id, kind, "1001", payload, Timestamp::UNIX_EPOCH).expect("readable")
    }

    fn purchase(id: i64, value: &str) -> Event {
        event(id, "purchase", &format!(r#"{{"value":"{value}","currency":"EUR"}}"#))
    }

    fn refund(id: i64, refund_ref: &str, amount: &str) -> Event {
        event(id, "refund", &format!(r#"{{"refund_ref":"{refund_ref}","amount":"{amount}"}}"#))
    }

    fn folded(events: &[Event]) -> Ledger {
        let mut ledger = Ledger::at(1);
        for event in events {
            ledger.fold(event);
        }
        ledger
    }

    fn sale(ledger: &Ledger) -> &Sale {
        ledger.sales["1001"].last().expect("a sale")
    }

    #[test]
    fn a_purchase_is_said_once() {
        let ledger = folded(&[purchase(1, "10"), purchase(2, "12")]);
        assert_eq!((sale(&ledger).event, sale(&ledger).value), (Some(1), Some(Decimal::from(10))));
        assert_eq!(ledger.entries.len(), 2, "the repeat keeps its place and is marked there");
    }

    #[test]
    fn a_purchase_after_a_retract_is_a_new_generation() {
        let ledger = folded(&[purchase(1, "10"), event(2, "retract", "{}"), purchase(3, "12"), purchase(4, "12")]);
        assert_eq!(ledger.sales["1001"].len(), 2);
        assert_eq!((sale(&ledger).generation, sale(&ledger).event, sale(&ledger).retracted), (2, Some(3), None));
    }

    #[test]
    fn refunds_add_up_once_each_and_are_clamped() {
        let ledger = folded(&[purchase(1, "10"), refund(2, "a", "4"), refund(3, "a", "4"), refund(4, "b", "9")]);
        assert_eq!(sale(&ledger).refunded, Decimal::from(10));
        assert_eq!(ledger.refunds["1001"]["b"].amount, Decimal::from(6));
        assert_eq!(ledger.refunds["1001"]["b"].total_after, Some(Decimal::from(10)));
        assert_eq!(ledger.notes.len(), 1);
        assert!(sale(&ledger).taken_back());
    }

    #[test]
    fn a_refund_waits_for_its_sale() {
        let ledger = folded(&[refund(1, "a", "4"), purchase(2, "10")]);
        assert_eq!(ledger.refunds["1001"]["a"].total_after, Some(Decimal::from(4)));
        assert_eq!(ledger.entries.last(), Some(&Entry { event: 1, cause: Some(Cause::Sale) }));
    }

    #[test]
    fn an_enrich_before_its_purchase_waits_as_a_stub_and_later_ones_win() {
        let ledger = folded(&[
            event(1, "enrich", r#"{"who":{"gclid":"a","consent":{"ads":true,"mail":true}}}"#),
            purchase(2, "10"),
            event(3, "enrich", r#"{"who":{"gclid":null,"fbclid":"f","consent":{"ads":false}}}"#),
        ]);
        assert_eq!(serde_json::to_string(&sale(&ledger).who).expect("json"), r#"{"gclid":"a","consent":{"ads":false},"fbclid":"f"}"#);
        assert_eq!(ledger.entries.last(), Some(&Entry { event: 2, cause: Some(Cause::Enrich) }));
    }

    proptest! {
        /// Whatever arrives in whatever order, a sale is never refunded beyond its value and totals never go back.
        #[test]
        fn totals_stay_within_the_sale(steps in prop::collection::vec((0u8..4, 0u8..6, 0u32..2_000), 1..40)) {
            let mut ledger = Ledger::at(1);
            for (index, (kind, refund_ref, cents)) in steps.into_iter().enumerate() {
                let id = i64::try_from(index).expect("small") + 1;
                let amount = Decimal::new(i64::from(cents), 2).to_string();
                ledger.fold(&match kind {
                    0 => purchase(id, &amount),
                    1 => event(id, "retract", "{}"),
                    _ => refund(id, &refund_ref.to_string(), &amount),
                });
            }
            for sale in ledger.sales.values().flatten() {
                prop_assert!(sale.refunded >= Decimal::ZERO && sale.refunded <= sale.value.unwrap_or_default());
                let mut booked: Vec<_> = ledger.refunds.values().flat_map(BTreeMap::values).filter(|r| r.generation == Some(sale.generation)).collect();
                booked.sort_by_key(|r| r.total_after);
                prop_assert_eq!(booked.iter().map(|r| r.amount).sum::<Decimal>(), sale.refunded);
            }
        }
    }
}
