//! The first page, pushed: one reader for all who look, however many they are, and none when nobody looks.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Page, overview::Overview, render};
use crate::{observe::rest, web::Web};

/// Pages that are pushed to at a time; the next one is told to ask again, and works without.
const CLIENTS: usize = 40;
/// Between two looks, at the least.
const EVERY: Duration = Duration::from_secs(1);
/// After one that failed.
const LATER: Duration = Duration::from_secs(5);
/// A proxy between closes what is silent.
const ALIVE: Duration = Duration::from_secs(20);

/// The newest of it, and who may listen.
#[derive(Debug)]
pub(super) struct Live {
    latest: watch::Sender<Arc<str>>,
    places: Arc<Semaphore>,
}

impl Live {
    /// Begins to read as soon as somebody listens.
    pub(super) fn start(web: &Web) -> Arc<Self> {
        let live = Arc::new(Self { latest: watch::channel(Arc::from("")).0, places: Arc::new(Semaphore::new(CLIENTS)) });
        let (reader, web) = (Arc::clone(&live), web.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = web.stop.cancelled() => return,
                    wait = reader.turn(&web) => tokio::select! {
                        () = web.stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    },
                }
            }
        });
        live
    }

    async fn turn(&self, web: &Web) -> Duration {
        // Everybody who listens holds a receiver.
        if self.latest.is_closed() {
            return EVERY / 4;
        }
        let began = Instant::now();
        let text = match Overview::read(web).await {
            Ok(overview) => overview.fragment(),
            Err(error) => {
                tracing::debug!(error = %error, "pages that are open could not be brought up to date");
                return rest(LATER, began.elapsed());
            }
        };
        let wait = rest(EVERY, began.elapsed());
        match text {
            Ok(text) => _ = self.latest.send_if_modified(|latest| (**latest != *text).then(|| *latest = Arc::from(text)).is_some()),
            Err(error) => tracing::error!(error = %error, "the overview could not be rendered"),
        }
        wait
    }
}

/// `GET /updates`: server-sent events named `overview`, each with the changed part of the page.
pub(super) async fn updates(State(page): State<Page>) -> Response {
    let Ok(place) = Arc::clone(&page.live.places).try_acquire_owned() else {
        return render::plain(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open; this one is brought up to date by reloading it.");
    };
    let mut latest = page.live.latest.subscribe();
    // The newest that is there comes at once.
    latest.mark_changed();
    let listening = Listening { latest, stop: page.web.stop, _place: place };
    let events = stream::unfold(listening, |mut listening| async move {
        let text = listening.next().await?;
        Some((Ok::<_, Infallible>(text), listening))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, axum::body::Body::from_stream(events)).into_response()
}

/// Somebody who looks. Their place is free again when they go.
struct Listening {
    latest: watch::Receiver<Arc<str>>,
    stop: tokio_util::sync::CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Listening {
    /// What is to be sent next; `None`: the daemon stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.latest.changed() => {
                    changed.ok()?;
                    let text = Arc::clone(&self.latest.borrow_and_update());
                    if !text.is_empty() {
                        return Some(event("overview", &text));
                    }
                }
                () = tokio::time::sleep(ALIVE) => return Some(Bytes::from_static(b": still there\n\n")),
            }
        }
    }
}

/// Every line of it behind a `data:`.
fn event(name: &str, text: &str) -> Bytes {
    let mut event = format!("event: {name}\n");
    for line in text.lines() {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_text_ends_its_event() {
        assert_eq!(event("a", "x\r\n\ny\n"), "event: a\ndata: x\ndata: \ndata: y\n\n".as_bytes());
    }
}
