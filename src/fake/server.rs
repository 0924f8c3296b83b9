//! The server: HTTP/1.1 on loopback, the judges behind their prefixes, and `/_fake` for tests.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    JUDGES,
    record::Record,
    script::{Chance, Chances, Rule, Script},
    words::{Answer, Call, Concern, Judge, Memory, Verdict},
};

/// Requests that `/_fake/requests` still shows.
const KEPT: usize = 10_000;
/// No platform takes more in one request.
const BODY: usize = 64 << 20;

/// How it behaves.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Faults by chance.
    pub chances: Chances,
    /// Keeps what came, for `/_fake/requests`.
    pub bodies: bool,
    /// Whoever reads along.
    pub print: Option<fn(&Record)>,
}

/// The fake platforms: what they remember and what they are told to do.
#[derive(Clone, Debug)]
pub struct Fake(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    script: Script,
    memories: BTreeMap<&'static str, Memory>,
    records: VecDeque<Record>,
    count: u64,
    bodies: bool,
    print: Option<fn(&Record)>,
}

impl Fake {
    /// Nothing has come yet.
    pub fn new(settings: Settings) -> Self {
        let script = Script { rules: Vec::new(), chances: settings.chances };
        let state = State { script, memories: BTreeMap::new(), records: VecDeque::new(), count: 0, bodies: settings.bodies, print: settings.print };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request. The path is whole here: `/meta/v26.0/1/events`.
    pub fn answer(&self, mut call: Call) -> Answer {
        let path = call.path.trim_start_matches('/').to_owned();
        let (prefix, rest) = path.split_once('/').unwrap_or((&path, ""));
        if prefix == "_fake" {
            return self.control(&call, rest);
        }
        let Some(judge) = JUDGES.iter().find(|judge| judge.name() == prefix) else {
            let known: Vec<&str> = JUDGES.iter().map(|judge| judge.name()).collect();
            return super::json(404, &json!({"error": format!("no platform has this prefix; there are /{}", known.join(", /"))}));
        };
        call.path = format!("/{rest}");
        self.state().judged(*judge, &call)
    }

    fn control(&self, call: &Call, what: &str) -> Answer {
        let mut state = self.state();
        match (call.method.as_str(), what) {
            ("GET", "requests") => {
                let wanted = |record: &&Record| call.param("platform").is_none_or(|platform| record.platform == platform);
                let records: Vec<&Record> = state.records.iter().filter(wanted).collect();
                super::json(200, &json!(records))
            }
            ("DELETE", "requests") => {
                state.records.clear();
                super::json(200, &json!({}))
            }
            ("GET", "script") => super::json(200, &json!(state.script.rules)),
            ("DELETE", "script") => {
                state.script.rules.clear();
                super::json(200, &json!({}))
            }
            ("POST", "script") => match serde_json::from_slice::<Rule>(&call.body) {
                Ok(rule) if JUDGES.iter().any(|judge| judge.name() == rule.platform) => {
                    state.script.rules.push(rule);
                    super::json(200, &json!(state.script.rules))
                }
                Ok(rule) => super::json(400, &json!({"error": format!("there is no platform {:?}", rule.platform)})),
                Err(error) => super::json(400, &json!({"error": error.to_string()})),
            },
            _ => super::json(404, &json!({"error": "there are GET and DELETE requests, GET, POST and DELETE script"})),
        }
    }
}

impl State {
    fn judged(&mut self, judge: &'static dyn Judge, call: &Call) -> Answer {
        let memory = self.memories.entry(judge.name()).or_default();
        let mut verdict = judge.judge(call, memory);
        let scripted = self.script.next(judge.name(), &verdict);
        if let Some((chance, id)) = &scripted {
            chance.put(&mut verdict, id.as_deref());
        }
        let answer = match &scripted {
            Some((Chance::Throttled, _)) => judge.throttled(call),
            Some((Chance::Down, _)) => judge.down(call),
            _ => judge.answer(call, &verdict, memory),
        };
        let said = match (&scripted, verdict.faults.len()) {
            (Some((chance, _)), _) => format!("scripted: {}", json!(chance).as_str().unwrap_or_default()),
            (None, 0) => "taken".to_owned(),
            (None, _) if verdict.faults.iter().all(|fault| fault.concern == Concern::Item) => "refused in part or whole".to_owned(),
            (None, _) => "refused".to_owned(),
        };
        remember(memory, &mut verdict, said == "taken");
        self.count += 1;
        let mut record = Record::new(self.count, judge.name(), call, verdict, said, answer.status);
        if let Some(print) = self.print {
            print(&record);
        }
        if self.bodies {
            record.body = Some(super::record::body(call));
        }
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
        answer
    }
}

/// What was taken once is a repeat from then on.
fn remember(memory: &mut Memory, verdict: &mut Verdict, taken: bool) {
    let mut again = 0;
    for item in verdict.items.iter().filter(|item| taken && !item.id.is_empty()) {
        if !memory.taken.insert(format!("{} {} {}", verdict.what, item.name, item.id)) {
            again += 1;
        }
    }
    if again > 0 {
        verdict.notes.push(format!("{again} of these ids came before"));
    }
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, fake: Fake) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, mostly: others end meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let fake = fake.clone();
        tokio::spawn(async move {
            let serving = service_fn(move |request| answer(request, fake.clone()));
            // An error is a client that went away.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serving).await;
        });
    }
}

async fn answer(request: Request<Incoming>, fake: Fake) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let now = Timestamp::now();
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        return Response::builder().status(413).body(Full::default());
    };
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let call = Call {
        method: head.method.to_string(),
        path: percent_encoding::percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned(),
        query: url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        headers: head.headers.iter().map(header).collect(),
        body: body.to_bytes().to_vec(),
        now,
    };
    let answer = fake.answer(call);
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(answer.body.into()))
}
