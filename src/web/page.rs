//! The page: what a marketer and a sysadmin want to see of all this, and what they may do about it.
//!
//! Everything is rendered here, by forms and links alone; `page.js` only adds what needs no reload. Everything is read by
//! `outbox::inspect` within limits, and everything that is done goes through `postback.command`, with the name of whoever asked.
//!
//! ```text
//! guard      whose request this is, and whether it may be answered; headers of every answer
//! address    what an address asks for
//! login      a name and the token become a session's cookie
//! render     templates, times, words
//! overview   what needs a person, destinations, chart, last deliveries      live: the same again, pushed
//! order      one order: its events, what was sent, what was answered
//! waiting    dead letters and unknowns: lists, filters
//! act        a question with a count, then a command, and what became of it
//! destination  settings, limits, attempts
//! apple      what Apple's devices sent
//! report     what was paid and what was told of it, by day
//! ```

mod act;
mod address;
mod apple;
mod assets;
mod chart;
mod destination;
pub(super) mod guard;
mod live;
mod login;
mod order;
mod overview;
mod render;
mod report;
mod waiting;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use deadpool_postgres::Object;
use tokio::sync::watch;

use self::live::Live;
use super::Web;
use crate::{
    config::{Config, SecretMode},
    outbox::{DbError, inspect},
};

/// No form of ours is longer.
const BODY: usize = 64 << 10;

/// What the handlers of the page share.
#[derive(Clone)]
struct Page {
    web: Web,
    /// The same configuration with names for secrets, for requests that are looked at; `None`: its file cannot be read now.
    shown: watch::Receiver<Option<Arc<Config>>>,
    live: Arc<Live>,
}

impl Page {
    /// A look at the database within limits.
    async fn look<T, W, F>(&self, work: W) -> Result<T, DbError>
    where
        W: FnOnce(Arc<Object>) -> F + Send + 'static,
        F: Future<Output = Result<T, DbError>> + Send + 'static,
        T: Send + 'static,
    {
        inspect::look(&self.web.pool, work).await
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.web.config.borrow())
    }
}

/// Its routes. Needs a runtime: two small tasks live as long as the listener.
pub(super) fn routes(web: Web) -> Router {
    let page = Page { shown: shown(&web), live: Live::start(&web), web };
    Router::new()
        .route("/", get(overview::overview))
        .route("/order", get(order::order))
        .route("/dead", get(waiting::dead))
        .route("/unknown", get(waiting::unknown))
        .route("/destination/{name}", get(destination::destination))
        .route("/confirm", get(act::confirm))
        .route("/act", post(act::act))
        .route("/actions", get(act::actions))
        .route("/actions/{id}", get(act::action))
        .route("/apple", get(apple::apple))
        .route("/report", get(report::report))
        .route("/report.csv", get(report::csv))
        .route("/login", get(login::form).post(login::login))
        .route("/logout", post(login::logout))
        .route("/updates", get(live::updates))
        .route("/assets/{name}", get(assets::asset))
        .fallback(render::no_such_page)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(page.clone(), guard::guard))
        .with_state(page)
}

/// Reads the file again, without its secrets, whenever the configuration in force changes: what the page shows has never held one.
fn shown(web: &Web) -> watch::Receiver<Option<Arc<Config>>> {
    let (tell, shown) = watch::channel(None);
    let mut in_force = web.config.clone();
    let stop = web.stop.clone();
    tokio::spawn(async move {
        loop {
            let file = in_force.borrow_and_update().file.clone();
            match tokio::task::spawn_blocking(move || Config::load(&file, SecretMode::Names)).await {
                Ok(Ok(config)) => _ = tell.send_replace(Some(Arc::new(config))),
                // The file was broken since it was read; the page says so where it matters.
                Ok(Err(_)) | Err(_) => _ = tell.send_replace(None),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = in_force.changed() => if changed.is_err() { return },
            }
        }
    });
    shown
}
