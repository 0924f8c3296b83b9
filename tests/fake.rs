//! Every platform's adapter before the judge that `postbackd fake` has for it: neither knows the other, so that a field that one of them
//! misread is refused here. With the real daemon, a real PostgreSQL and the real `postbackd fake`. A platform is one entry of `cases`.

mod cases;
mod process;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::{
    cases::{Case, Id},
    process::Platforms,
};
use crate::{
    sending::Stage,
    support::daemon::{Config, Daemon},
};

const COMMON: &str = "start = \"beginning\"\nkinds = [\"purchase\", \"refund\", \"lead\", \"signup\", \"subscribe\", \"custom\"]\nretry = { first = \"100ms\", max = \"1s\" }\nbreaker = { failures = 1000, open = \"100ms\" }\n";
/// Time passes: what is asked later is asked now, and what was sent was sent long ago.
const LATER: &str = "update postback.receipt set answer = answer || '{\"sent\": 1}' where answer is not null;
                     update postback.pending set next_at = now() where state in ('accepted', 'parked', 'held', 'retrying')";

struct Scene {
    case: &'static Case,
    stage: Stage,
    fake: Platforms,
    _daemon: Daemon,
}

/// As Google gives it out.
fn key_file() -> String {
    let key = include_str!("../src/http/token/test_key.pem");
    let account = "shop@project.iam.gserviceaccount.com";
    serde_json::json!({"type": "service_account", "client_email": account, "private_key": key, "token_uri": "{base}/token"}).to_string()
}

impl Scene {
    async fn new(case: &'static Case) -> Self {
        let (stage, fake) = (Stage::new().await, Platforms::start().await);
        let base = fake.base(case.platform);
        let settings = case.settings.replace("{key_file}", &key_file()).replace("{base}", &base);
        let table = format!("[destination.d]\nplatform = \"{}\"\nbase_url = \"{base}\"\n{COMMON}{settings}", case.platform);
        let _daemon = Daemon::start(Config::new(&stage.database).raw(&table)).await;
        Self { case, stage, fake, _daemon }
    }

    /// Waits for the last word on an event, which may come in two steps.
    async fn state(&self, event: i64, want: &str) {
        let sql = format!(
            "select outcome || coalesce(': ' || reason, '') from postback.attempt where destination = 'd' and event = {event} order by attempt desc limit 1"
        );
        let open = "accepted";
        let began = std::time::Instant::now();
        loop {
            let have = self.stage.text(&sql).await;
            let matches = |want: &str| have == want || want.ends_with('*') && have.starts_with(want.trim_end_matches('*'));
            if matches(want) {
                return;
            }
            if have.starts_with(open) || have.starts_with("retry") || have == "-" {
                self.stage.shop(LATER).await;
            }
            if began.elapsed() > std::time::Duration::from_secs(20) {
                panic!("{} event {event} is {have:?} and not {want:?}\n{}", self.case.platform, self.fake.told(self.case.platform).await);
            }
            // What happens in another process can only be asked for.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Nothing that was not scripted was refused.
    async fn innocent(&self) -> Vec<Value> {
        let records = self.fake.requests(self.case.platform).await;
        for record in &records {
            let faults = record["faults"].as_array().expect("faults");
            assert!(faults.iter().all(|fault| fault["field"] == "script"), "{} sent what its judge refuses:\n{record:#}", self.case.platform);
        }
        assert!(!records.is_empty(), "nothing came");
        records
    }
}

async fn purchase_throttled_then_refunded(case: &'static Case) {
    let scene = Scene::new(case).await;
    scene.fake.script(&format!(r#"{{"platform": "{}", "answer": "throttled", "what": "events", "times": 1}}"#, case.platform)).await;
    scene.stage.shop(&format!("select postback.purchase('1', 100.50, 'EUR', '{}', '{}')", case.who, cases::ITEMS)).await;
    scene.state(1, "delivered").await;
    scene.stage.shop("select postback.refund('1', 'r', 40.25)").await;
    scene.state(2, case.refund).await;
    let records = scene.innocent().await;
    let conversions: Vec<&Value> = records.iter().filter(|record| record["what"] == "events" || record["what"] == "refund").collect();
    let verdicts: Vec<&str> = conversions.iter().filter_map(|record| record["verdict"].as_str()).collect();
    let told: &[&str] = if case.told.is_none() { &["scripted: throttled", "taken"] } else { &["scripted: throttled", "taken", "taken"] };
    assert_eq!(verdicts, told, "{}", scene.fake.told(case.platform).await);
    for (pointer, plain) in case.hashes {
        let body = &conversions[0]["body"];
        let hash = hex::encode(Sha256::digest(plain.as_bytes()));
        let sent = body.pointer(pointer).and_then(Value::as_str);
        assert_eq!(sent, Some(hash.as_str()), "{pointer} is not the hash of {plain:?} in {body:#}");
    }
    if let (Some(told), Some(refund)) = (case.told, conversions.last()) {
        assert_eq!(refund["items"][0]["amount"], told, "what is told of a refund of 40.25 out of 100.50");
    }
}

async fn one_of_four_is_refused(case: &'static Case) {
    let scene = Scene::new(case).await;
    let (which, refused) = match case.id {
        Id::Event => (r#""id": "purchase-C-3""#, 3),
        Id::Reference => (r#""id": "C-3""#, 3),
        // The first of the first request, then.
        Id::Other => (r#""times": 1, "what": "events""#, 1),
    };
    scene.fake.script(&format!(r#"{{"platform": "{}", "answer": "partial", {which}}}"#, case.platform)).await;
    scene
        .stage
        .shop(&format!("select postback.purchase('C-' || n, 9.99, 'EUR', '{}', '{}') from generate_series(1, 4) n", case.who, cases::CUP))
        .await;
    for event in (1..=4).filter(|event| *event != refused) {
        scene.state(event, "delivered").await;
    }
    scene.state(refused, if case.silent { "delivered" } else { case.refused }).await;
    scene.innocent().await;
}

/// What judges look at most: currencies, kinds, little and odd data.
async fn odd_orders_are_well_formed(case: &'static Case) {
    let scene = Scene::new(case).await;
    scene
        .stage
        .shop(&format!(
            "select postback.purchase('Y-1', 9003, 'JPY', '{0}', '{1}'); select postback.purchase('K-1', 1.234, 'KWD', '{0}'); \
         select postback.purchase('Ü 7/8', 49.90, 'USD', '{2}', '{3}'); \
         select postback.emit(kind, kind || '-1', '{0}') from unnest('{{lead,signup,subscribe,custom}}'::text[]) kind; \
             select postback.emit('lead', 'lead-2', '{0}', '{{\"value\": \"5\", \"currency\": \"EUR\"}}')",
            case.who,
            cases::YEN,
            cases::odd(case.who),
            cases::ODD_ITEMS
        ))
        .await;
    let told = "select count(distinct event) from postback.attempt where destination = 'd'";
    scene.stage.until(told, "8").await;
    scene.stage.until("select count(*) from postback.pending where state in ('retrying', 'sending', 'held', 'parked')", "0").await;
    let records = scene.innocent().await;
    let told: usize = records.iter().filter(|record| record["what"] == "events").filter_map(|record| record["items"].as_array()).map(Vec::len).sum();
    assert_eq!(
        told,
        case.odd,
        "{told} conversions came, {} were to come\n{}\n{}",
        case.odd,
        scene
            .stage
            .text(
                "select string_agg(event || chr(32) || outcome || chr(32) || coalesce(reason, chr(45)), chr(10) order by event) from postback.attempt"
            )
            .await,
        scene.fake.told(case.platform).await
    );
}

async fn a_dead_credential_halts_and_burns_nothing(case: &'static Case) {
    let scene = Scene::new(case).await;
    scene.fake.script(&format!(r#"{{"platform": "{}", "answer": "expired", "what": "events"}}"#, case.platform)).await;
    scene.stage.shop(&format!("select postback.purchase('1', 9.99, 'EUR', '{}', '{}')", case.who, cases::CUP)).await;
    if case.silent {
        return scene.state(1, "delivered").await;
    }
    scene.stage.until("select halted is not null from postback.position", "true").await;
    assert_eq!(scene.stage.text("select count(*) from postback.attempt where outcome in ('dead', 'delivered', 'skipped')").await, "0");
    scene.fake.forget().await;
    scene.stage.command(r#"{"do": "resume", "destination": "d"}"#).await;
    scene.state(1, "delivered").await;
    scene.innocent().await;
}

macro_rules! before_its_judge {
    ($($name:ident = $case:ident,)+) => { $(mod $name {
        use super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn a_throttled_purchase_comes_again_and_its_refund_follows() {
            purchase_throttled_then_refunded(&cases::$case).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn one_refused_of_four_harms_no_other() {
            one_of_four_is_refused(&cases::$case).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn an_expired_credential_loses_nothing() {
            a_dead_credential_halts_and_burns_nothing(&cases::$case).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn odd_orders_pass() {
            odd_orders_are_well_formed(&cases::$case).await;
        }
    })+ };
}

before_its_judge! {
    meta = META,
    google_data_manager = GOOGLE_DATA_MANAGER,
    google_service_account = GOOGLE_SERVICE_ACCOUNT,
    awin = AWIN,
    tiktok = TIKTOK,
    impact = IMPACT,
    cj = CJ,
    snapchat = SNAPCHAT,
    pinterest = PINTEREST,
    rakuten = RAKUTEN,
    ga4 = GA4,
    appsflyer = APPSFLYER,
    adjust = ADJUST,
    microsoft = MICROSOFT,
    microsoft_events = MICROSOFT_EVENTS,
    singular = SINGULAR,
    google_ads = GOOGLE_ADS,
}
