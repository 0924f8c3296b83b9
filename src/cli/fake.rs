//! `postbackd fake`: platforms on loopback that judge what they get.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{Common, Exit, Failure, say};
use crate::fake::{Chance, Chances, Fake, JUDGES, Record, Settings, serve};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each platform stands under its name: set base_url = \"http://127.0.0.1:9080/meta\" in the destination's table (the lines to set are printed
at the start), run the daemon, and read here what the platform would have said. Any credential is taken; the text \"expired\" is refused as one
that has expired. Lines tell names of fields and no values, besides the event's name, dedupe id and amount.

For tests: GET /_fake/requests[?platform=meta] tells what came, DELETE forgets it. POST /_fake/script has a fault follow:
  {\"platform\": \"meta\", \"answer\": \"throttled\", \"times\": 1}
with \"answer\" one of throttled, down, expired, invalid, partial; \"what\" (events, refund, token, status) and \"id\" (a dedupe id)
narrow it, without \"times\" it holds until DELETE /_fake/script.

Examples:
  postbackd fake
  postbackd fake --listen 127.0.0.1:9090 --chance throttled=0.1 --chance down=0.05 --seed 7
  postbackd --json fake")]
pub struct Args {
    /// Where to listen, on loopback; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    listen: SocketAddr,
    /// A fault by chance, as NAME=SHARE: throttled, down, expired, invalid, partial
    #[arg(long, value_name = "FAULT=SHARE", value_parser = chance)]
    chance: Vec<(Chance, f64)>,
    /// The same seed gives the same faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// GET /_fake/requests tells bodies too, with the personal data in them
    #[arg(long)]
    bodies: bool,
}

fn chance(text: &str) -> Result<(Chance, f64), String> {
    let (name, share) = text.split_once('=').ok_or("write it as throttled=0.1")?;
    let share: f64 = share.parse().map_err(|_| format!("{share:?} is no number"))?;
    if !(0.0..=1.0).contains(&share) {
        return Err("a share is between 0 and 1".to_owned());
    }
    Ok((name.parse()?, share))
}

pub(super) async fn fake(common: &Common, args: &Args) -> Result<Exit, Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::new(Exit::Usage, format!("{} is not on loopback: the fake takes personal data of anybody who sends it", args.listen)));
    }
    let of: BTreeMap<Chance, f64> = args.chance.iter().copied().collect();
    if of.values().sum::<f64>() > 1.0 {
        return Err(Failure::new(Exit::Usage, "the shares of --chance add up to more than 1"));
    }
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot listen at {}: {error}", args.listen));
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(failed)?;
    let base = format!("http://{}", listener.local_addr().map_err(failed)?);
    say(&greeting(&base, common.json));
    let print: fn(&Record) =
        if common.json { |record| say(&serde_json::to_string(record).unwrap_or_default()) } else { |record| say(&record.lines()) };
    let fake = Fake::new(Settings { chances: Chances { of, seed: args.seed }, bodies: args.bodies, print: Some(print) });
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        never = serve(listener, fake) => match never {},
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        _ = term.recv() => Ok(Exit::Done),
    }
}

/// What to write into the configuration, or the address alone as JSON.
fn greeting(base: &str, json: bool) -> String {
    if json {
        return serde_json::json!({ "listening": base }).to_string();
    }
    let mut lines = vec![format!("fake platforms at {base}; in the tables of your destinations:")];
    for judge in JUDGES {
        let more = judge.settings().replace("{base}", &format!("{base}/{}", judge.name()));
        lines.push(format!("  {:<22} base_url = \"{base}/{}\"{}{more}", judge.name(), judge.name(), if more.is_empty() { "" } else { ", " }));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances() {
        assert_eq!(chance("throttled=0.25"), Ok((Chance::Throttled, 0.25)));
        for wrong in ["throttled", "throttled=x", "throttled=2", "slow=0.1"] {
            assert!(chance(wrong).is_err(), "{wrong}");
        }
    }
}
