//! [6 database mark] What became of deliveries at one destination, in one transaction with its position.

use jiff::Timestamp;
use tokio_postgres::{Client, types::Type};

use super::{ANSWER, DbError, statement::with_parts, within};
use crate::marks::{Marks, Move, PendingRow};

/// Writes it, durably; `Fenced` when somebody else has moved the position.
pub async fn complete(db: &Client, destination: &str, place: Move, marks: &Marks) -> Result<(), DbError> {
    let a = &marks.attempts;
    let events: Vec<i64> = a.iter().map(|row| row.event).collect();
    let seqs: Vec<i64> = a.iter().map(|row| row.seq).collect();
    let outcomes: Vec<&str> = a.iter().map(|row| row.outcome.as_str()).collect();
    let statuses: Vec<Option<i32>> = a.iter().map(|row| row.status).collect();
    let durations: Vec<Option<i32>> = a.iter().map(|row| row.duration_ms).collect();
    let reasons: Vec<Option<String>> = a.iter().map(|row| without_nul(row.reason.as_deref())).collect();

    let receipt_event: Vec<i64> = marks.receipts.keys().copied().collect();
    let receipt_sent: Vec<String> = marks.receipts.values().map(|receipt| json(&receipt.sent)).collect();
    let receipt_answer: Vec<Option<String>> = marks.receipts.values().map(|receipt| receipt.answer.as_ref().map(json)).collect();
    let receipt_uncertain: Vec<bool> = marks.receipts.values().map(|receipt| receipt.uncertain).collect();

    let rows: Vec<&PendingRow> = marks.pending.values().flatten().collect();
    let pending_event: Vec<i64> = rows.iter().map(|row| row.event).collect();
    let pending_seq: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let pending_order: Vec<&str> = rows.iter().map(|row| &*row.order_ref).collect();
    let pending_state: Vec<&str> = rows.iter().map(|row| row.state.as_str()).collect();
    let pending_attempts: Vec<i32> = rows.iter().map(|row| row.attempts).collect();
    let pending_next: Vec<Option<Timestamp>> = rows.iter().map(|row| row.next_at).collect();
    let pending_reason: Vec<Option<String>> = rows.iter().map(|row| without_nul(row.reason.as_deref())).collect();
    let gone: Vec<i64> = marks.pending.iter().filter(|(_, row)| row.is_none()).map(|(seq, _)| *seq).collect();

    let sql = with_parts(include_str!("../../sql/complete.sql"), |part| match part {
        "attempts" => !events.is_empty(),
        "receipts" => !receipt_event.is_empty(),
        "pending" => !pending_event.is_empty(),
        "gone" => !gone.is_empty(),
        _ => !marks.decided_anew.is_empty(),
    });
    let rows = within(
        ANSWER,
        db.query_typed(
            &sql,
            &[
                (&destination, Type::TEXT),
                (&place.epoch, Type::INT8),
                (&place.from, Type::INT8),
                (&place.to, Type::INT8),
                (&place.horizon, Type::INT8),
                (&marks.halted.is_some(), Type::BOOL),
                (&marks.halted, Type::TEXT),
                (&events, Type::INT8_ARRAY),
                (&seqs, Type::INT8_ARRAY),
                (&outcomes, Type::TEXT_ARRAY),
                (&statuses, Type::INT4_ARRAY),
                (&durations, Type::INT4_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&receipt_event, Type::INT8_ARRAY),
                (&receipt_sent, Type::TEXT_ARRAY),
                (&receipt_answer, Type::TEXT_ARRAY),
                (&receipt_uncertain, Type::BOOL_ARRAY),
                (&pending_event, Type::INT8_ARRAY),
                (&pending_seq, Type::INT8_ARRAY),
                (&pending_order, Type::TEXT_ARRAY),
                (&pending_state, Type::TEXT_ARRAY),
                (&pending_attempts, Type::INT4_ARRAY),
                (&pending_next, Type::TIMESTAMPTZ_ARRAY),
                (&pending_reason, Type::TEXT_ARRAY),
                (&gone, Type::INT8_ARRAY),
                (&marks.decided_anew, Type::INT8_ARRAY),
            ],
        ),
    )
    .await?;
    if rows.first().map_or(0, |row| row.get::<_, i64>(0)) == 1 { Ok(()) } else { Err(DbError::Fenced) }
}

/// PostgreSQL's text cannot hold a NUL, and a platform's words may.
fn without_nul(text: Option<&str>) -> Option<String> {
    text.map(|text| text.replace('\0', "\u{fffd}"))
}

/// Likewise its jsonb: every string of the value, keys included.
fn json(value: &impl serde::Serialize) -> String {
    fn clean(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = text.replace('\0', "\u{fffd}"),
            serde_json::Value::Array(values) => values.iter_mut().for_each(clean),
            serde_json::Value::Object(object) => {
                let entries = std::mem::take(object).into_iter().map(|(key, mut value)| {
                    clean(&mut value);
                    (key.replace('\0', "\u{fffd}"), value)
                });
                *object = entries.collect();
            }
            _ => {}
        }
    }
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains("\\u0000") {
        return text;
    }
    let mut value = serde_json::to_value(value).unwrap_or_default();
    clean(&mut value);
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_platform_says_can_always_be_kept() {
        let value = serde_json::json!({"a\0": ["x\0y", {"b": "\\u0000 is text"}], "n": 1.10});
        let kept = json(&value);
        assert!(!kept.contains("\\u0000\""), "{kept}");
        assert_eq!(kept, "{\"a\u{fffd}\":[\"x\u{fffd}y\",{\"b\":\"\\\\u0000 is text\"}],\"n\":1.1}");
        assert_eq!(without_nul(Some("a\0b")).as_deref(), Some("a\u{fffd}b"));
    }
}
