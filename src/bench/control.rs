//! What the HTTP client does on this machine when nothing but HTTP happens: the figure that the daemon's rate is divided by.
//!
//! A process of its own with as many threads as the daemon has, so that neither borrows from the bench's.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};

use super::{BenchError, child, cpu};
use crate::{
    destination::{Limits, Route},
    http::{Client, Transport as _},
    request::{Method, Request},
};

/// What to send, and how.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The receiver.
    pub to: SocketAddr,
    /// Requests in all.
    pub requests: u32,
    /// At the same time.
    pub in_flight: usize,
    /// What sends them.
    pub via: Via,
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// reqwest as it comes.
    Bare,
    /// The daemon's own transport around it.
    Transport,
}

/// How it went.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    /// First request to last answer.
    pub seconds: f64,
    /// Processor time of the process meanwhile.
    pub cpu: Option<f64>,
}

/// Runs the job in a child process of `binary`.
pub async fn run(binary: &Path, job: Job) -> Result<Done, BenchError> {
    let text = child::output(binary, &super::Part::Control(job)).await?;
    serde_json::from_str(&text).map_err(|error| BenchError::Child { what: "the control", why: error.to_string() })
}

/// The child's side.
pub async fn work(job: Job) -> Result<Done, BenchError> {
    let failed = |why: String| BenchError::Child { what: "the control", why };
    let url = |number: u32| format!("http://{}/pb?id=purchase-order-{number}&order=order-{number}&value=140.98&currency=EUR", job.to);
    match job.via {
        Via::Bare => {
            // TLS is not used here, but a client cannot be made without knowing whose TLS it would be. A second call finds it set.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client =
                reqwest::Client::builder().no_proxy().pool_max_idle_per_host(job.in_flight).build().map_err(|error| failed(error.to_string()))?;
            measure(job, |number| {
                let sending = client.get(url(number)).send();
                async move {
                    let response = sending.await.map_err(|error| error.to_string())?;
                    let status = response.status().as_u16();
                    response.bytes().await.map_err(|error| error.to_string())?;
                    Ok(status)
                }
            })
            .await
        }
        Via::Transport => {
            let limits = Limits { in_flight: job.in_flight, ..Limits::default() };
            let client = Client::new(&Route::default(), &limits).map_err(|error| failed(error.to_string()))?;
            measure(job, |number| {
                let sending = client.send(Request { method: Method::Get, url: url(number), headers: Vec::new(), body: Vec::new() }, limits.deadline);
                async move { sending.await.map(|reply| reply.status).map_err(|error| format!("{error:?}")) }
            })
            .await
        }
    }
    .map_err(failed)
}

/// Keeps `in_flight` requests under way until all are answered, each with 200.
async fn measure<F: Future<Output = Result<u16, String>>>(job: Job, send: impl Fn(u32) -> F) -> Result<Done, String> {
    let (before, began) = (cpu::own(), Instant::now());
    let mut waiting = 0..job.requests;
    let mut under_way: FuturesUnordered<F> = waiting.by_ref().take(job.in_flight).map(&send).collect();
    while let Some(status) = under_way.next().await {
        match status? {
            200 => under_way.extend(waiting.next().map(&send)),
            other => return Err(format!("the receiver answered {other}")),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu::own().zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    Ok(Done { seconds, cpu })
}

/// Longer than any job takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
