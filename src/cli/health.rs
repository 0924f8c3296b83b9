//! `postbackd health`: what /ready of the daemon on this machine says.

use std::time::Duration;

use serde_json::Value;

use super::{Common, Exit, Failure};
use crate::{
    config::SecretMode,
    http::{self, Transport as _},
    request::{Method, Request},
};

pub(super) const TEACH: &str = "\
Asks /ready at [web] listen: exit code 0 when deliveries move, 1 when they do not, with every reason, and when nothing answers
within 10 s. A daemon that stands by is not ready. For containers and scripts:

  HEALTHCHECK CMD [\"postbackd\", \"health\"]
  postbackd health --json
  curl -sf http://127.0.0.1:9187/ready        the same by hand";

/// A glance at the database takes up to five seconds.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn health(common: &Common) -> Result<Exit, Failure> {
    let config = common.load(SecretMode::Reveal)?;
    let Some(web) = &config.web else {
        return Err(Failure::new(Exit::Usage, "nothing answers: add [web] listen = \"127.0.0.1:9187\" to the configuration"));
    };
    // Where it listens everywhere, it is here too.
    let mut address = web.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("no daemon answers at http://{address}/ready: {error}"));
    let client = http::Client::direct().map_err(|error| failed(&error))?;
    let mut request = Request::new(Method::Get, format!("http://{address}/ready")).with("Accept", "application/json");
    if let Some(token) = &web.token {
        request = request.with("Authorization", format!("Bearer {}", token.reveal()));
    }
    let answer = client.send(request, PATIENCE).await.map_err(|error| failed(&error))?;
    let said: Value = serde_json::from_slice(&answer.body).map_err(|_| failed(&format!("HTTP {} and no JSON: is that postbackd?", answer.status)))?;
    let ready = said["ready"].as_bool() == Some(true);
    common.print(&said, || {
        let reasons = said["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason["text"].as_str());
        std::iter::once(if ready { "ready" } else { "not ready" }).chain(reasons).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if ready { Exit::Done } else { Exit::Failed })
}
