//! `[web] listen`: health, metrics and the page. It reads what the daemon counted and wrote and, like every command, changes nothing but
//! by `postback.command`. It has connections of its own, so that who looks takes nothing from deliveries.

mod health;
mod metrics;
mod page;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use deadpool_postgres::Pool;
use hyper_util::service::TowerToHyperService;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use self::page::guard::Peer;
use crate::{
    config::Config,
    metrics::Metrics,
    observe::Observer,
    outbox::connect::{self, ConnectError},
    serve::{self, Full, Limits},
};

/// Connections to the database, for everybody who looks.
const POOL: usize = 4;

const LIMITS: Limits = Limits { connections: 128, full: Full::Waits, head: Duration::from_secs(10), grace: Duration::from_secs(2) };

/// What handlers share.
#[derive(Clone)]
pub struct Web {
    config: watch::Receiver<Arc<Config>>,
    metrics: Arc<Metrics>,
    observer: Arc<Observer>,
    pool: Pool,
    stop: CancellationToken,
}

impl Web {
    /// Nothing is connected before somebody looks. `config` is the one in force.
    pub fn new(config: watch::Receiver<Arc<Config>>, metrics: Arc<Metrics>, stop: CancellationToken) -> Result<Self, ConnectError> {
        let pool = connect::pool(&config.borrow().database, POOL)?;
        Ok(Self { config, metrics, observer: Arc::new(Observer::new(pool.clone())), pool, stop })
    }

    /// Serves until told to stop.
    pub async fn serve(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let routes = routes(self);
        serve::serve(listener, LIMITS, stop, |peer| TowerToHyperService::new(routes.clone().layer(Extension(Peer(peer))))).await;
    }

    /// Who knows the token; everybody where there is none, which is on loopback alone. There the name that was asked for must be
    /// loopback's too: a page of a stranger's could otherwise have its own name lead here and read along.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let config = self.config.borrow();
        let word = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match config.web.as_ref().and_then(|web| web.token.as_ref()) {
            Some(token) => {
                word(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|given| same(given, token.reveal()))
            }
            None => word(header::HOST).is_none_or(is_loopback),
        }
    }
}

/// Takes as long for a wrong token as for the right one.
fn same(given: &str, token: &str) -> bool {
    let digest = |text: &str| <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
    digest(given).iter().zip(digest(token).iter()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// `localhost:9187`, `127.0.0.1`, `[::1]:9187`.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn routes(web: Web) -> Router {
    let page = page::routes(web.clone());
    Router::new().route("/live", get(health::live)).route("/ready", get(health::ready)).route("/metrics", get(scraped)).with_state(web).merge(page)
}

async fn scraped(State(web): State<Web>, headers: HeaderMap) -> Response {
    if !web.admits(&headers) {
        let why = "send the token of [web]: Authorization: Bearer TOKEN; without a token, ask for this machine by a name of its own (127.0.0.1)\n";
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response();
    }
    let (seen, reasons) = web.readiness().await;
    ([(header::CONTENT_TYPE, metrics::FORMAT)], metrics::page(&web.metrics, &seen, reasons.is_empty())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for name in ["localhost", "LOCALHOST:9187", "127.0.0.1", "127.0.0.1:9187", "127.1.2.3:1", "[::1]", "[::1]:9187"] {
            assert!(is_loopback(name), "{name}");
        }
        for name in ["", "evil.example", "localhost.evil.example:9187", "127.0.0.1.evil.example", "10.0.0.1:9187", "[2001:db8::1]:9187", "::2"] {
            assert!(!is_loopback(name), "{name}");
        }
    }

    #[test]
    fn a_token_is_right_or_wrong_as_a_whole() {
        assert!(same("0123456789abcdef", "0123456789abcdef"));
        assert!(!same("0123456789abcde", "0123456789abcdef") && !same("", "0123456789abcdef") && !same("0123456789abcdeF", "0123456789abcdef"));
    }
}
