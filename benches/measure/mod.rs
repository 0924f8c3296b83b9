//! What the big runs measure with: a receiver that costs little, a server and a daemon of their own, and CPU time by process.
//!
//! Wall time on a machine that others use says little; what a run took from whom, and what the others left, says more.

// Each program uses a part of this.
#![allow(dead_code, unused_imports)]

mod promises;
mod sink;
mod usage;

pub use promises::Promises;
pub use sink::Sink;
pub use usage::{Meter, Spent};

/// Events of the outbox as the SQL functions write them, a transaction per 20,000: `count` purchases of as many orders.
pub async fn fill(db: &tokio_postgres::Client, count: i64) -> anyhow::Result<()> {
    fill_with(db, count, "clock_timestamp()").await
}

/// The same with an SQL expression over `i`, from 1 to `count`, for when it happened.
pub async fn fill_with(db: &tokio_postgres::Client, count: i64, occurred_at: &str) -> anyhow::Result<()> {
    let sql = format!(
        r#"insert into postback.event (kind, ref, payload, occurred_at)
           select 'purchase', 'A' || i, jsonb_build_object('value', (i % 9000 + 100) || '.98', 'currency', 'USD',
             'who', jsonb_build_object('email', 'buyer' || i || '@example.com', 'gclid', 'EAIaIQobChMI' || md5(i::text), 'country', 'US',
                                       'ip', '203.0.113.7', 'user_agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'),
             'more', '{{"items": [{{"id": "sku-1", "name": "A thing", "quantity": 2, "price": "70.49"}}], "tax": "11.20", "shipping": "4.90"}}'::jsonb),
             {occurred_at}
           from generate_series($1::bigint, $2::bigint) i"#
    );
    for first in (1..=count).step_by(20_000) {
        db.execute(sql.as_str(), &[&first, &count.min(first + 19_999)]).await?;
    }
    Ok(())
}
