use std::{collections::VecDeque, sync::Mutex as Held};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

/// Answers from a list, in the order of the requests, and keeps them.
#[derive(Default)]
struct Script {
    replies: Held<VecDeque<Result<Reply, SendError>>>,
    seen: Held<Vec<Request>>,
}

impl Script {
    fn of(replies: impl IntoIterator<Item = (u16, &'static str)>) -> Arc<Self> {
        let reply = |(status, body): (u16, &str)| Ok(Reply { status, headers: Vec::new(), body: body.into(), cut: false });
        Arc::new(Self { replies: Held::new(replies.into_iter().map(reply).collect()), ..Self::default() })
    }

    /// URL, `Authorization`, and body of each request.
    fn seen(&self) -> Vec<(String, Option<String>, String)> {
        let header = |request: &Request| request.headers.iter().find(|(name, _)| name == "Authorization").map(|(_, value)| value.clone());
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|r| (r.url.clone(), header(r), String::from_utf8(r.body.clone()).unwrap())).collect()
    }
}

impl Transport for Script {
    fn send(&self, request: Request, _: Duration) -> Sending {
        assert!(request.grant.is_none(), "the slot is filled");
        self.seen.lock().unwrap().push(request);
        let reply = self.replies.lock().unwrap().pop_front().expect("no more requests than answers");
        // Whoever comes meanwhile has to wait.
        Box::pin(async move {
            tokio::task::yield_now().await;
            reply
        })
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

fn grant(refresh_token: &str) -> Arc<Grant> {
    let means = Means::Refresh {
        client_id: "client".into(),
        client_secret: Some(Secret::new("env CLIENT", "hush&1")),
        refresh_token: Secret::new("env REFRESH", refresh_token),
        scope: None,
    };
    Arc::new(Grant { token_url: "https://auth.example/token".into(), means })
}

fn room(script: &Arc<Script>, directory: Option<&Path>) -> (Authorized, Arc<Tokens>) {
    let tokens = Arc::new(Tokens::new(directory.map(Path::to_owned)));
    (Authorized::new(Arc::clone(script) as Arc<dyn Transport>, &tokens, Arc::default()), tokens)
}

fn get(grant: &Arc<Grant>) -> Request {
    Request::new(Method::Get, "https://api.example/").granted(grant)
}

const TOKEN: (u16, &str) = (200, r#"{"access_token": "first", "expires_in": 3600, "token_type": "Bearer"}"#);
const FINE: (u16, &str) = (200, "{}");

#[tokio::test]
async fn one_token_for_all_that_wait_and_for_those_that_come_later() {
    let script = Script::of([TOKEN, FINE, FINE, FINE]);
    let (room, _) = room(&script, None);
    let grant = grant("r");
    let (a, b) = tokio::join!(room.send(get(&grant), DEADLINE), room.send(get(&grant), DEADLINE));
    assert!(a.is_ok() && b.is_ok() && room.send(get(&grant), DEADLINE).await.is_ok());
    let seen = script.seen();
    assert_eq!(seen[0].0, "https://auth.example/token");
    assert_eq!(seen[0].2, "grant_type=refresh_token&client_id=client&client_secret=hush%261&refresh_token=r");
    assert!(seen[1..].iter().all(|(url, token, _)| url == "https://api.example/" && token.as_deref() == Some("Bearer first")));
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_request_without_a_grant_passes_through() {
    let script = Script::of([FINE]);
    let (room, _) = room(&script, None);
    assert!(room.send(Request::new(Method::Get, "https://api.example/"), DEADLINE).await.is_ok());
    assert_eq!(script.seen()[0].1, None);
}

#[tokio::test]
async fn a_rotated_refresh_token_is_used_from_then_on_and_survives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let rotating = (200, r#"{"access_token": "a", "refresh_token": "second", "expires_in": "0"}"#);
    let script = Script::of([rotating, FINE, TOKEN, FINE]);
    let grant = grant("configured");
    let (first, _) = room(&script, Some(directory.path()));
    first.send(get(&grant), DEADLINE).await.unwrap();
    // Another process, which finds what the first one wrote.
    let (second, _) = room(&script, Some(directory.path()));
    second.send(get(&grant), DEADLINE).await.unwrap();
    let seen = script.seen();
    assert!(seen[0].2.ends_with("refresh_token=configured") && seen[2].2.ends_with("refresh_token=second"), "{seen:?}");
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1, "nothing half written is left");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&files[0].metadata().unwrap().permissions()) & 0o777, 0o600);
    // A person puts a new one into the configuration: what was rotated from the old one is no longer asked for.
    let script = Script::of([TOKEN, FINE]);
    let (third, _) = room(&script, Some(directory.path()));
    third.send(get(&self::grant("renewed")), DEADLINE).await.unwrap();
    assert!(script.seen()[0].2.ends_with("refresh_token=renewed"));
}

#[tokio::test]
async fn a_rotated_token_that_is_refused_gives_way_to_what_another_process_wrote_and_to_the_configured_one() {
    let directory = tempfile::tempdir().unwrap();
    let rotating = (200, r#"{"access_token": "a", "refresh_token": "second", "expires_in": 0}"#);
    let dead = (400, r#"{"error": "invalid_grant"}"#);
    let script = Script::of([rotating, FINE, dead, TOKEN, FINE]);
    let grant = grant("configured");
    let (room, _) = room(&script, Some(directory.path()));
    room.send(get(&grant), DEADLINE).await.unwrap();
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, "third").unwrap();
    room.send(get(&grant), DEADLINE).await.unwrap();
    let shown: Vec<String> = script.seen().iter().filter_map(|(_, _, body)| Some(body.rsplit_once("&refresh_token=")?.1.to_owned())).collect();
    assert_eq!(shown, ["configured", "second", "third"]);
}

#[tokio::test]
async fn a_dead_credential_says_which_secret_to_renew() {
    let script = Script::of([(400, r#"{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}"#)]);
    let (room, _) = room(&script, None);
    let error = room.send(get(&grant("r")), DEADLINE).await.unwrap_err();
    let why = "no access token for env REFRESH (HTTP 400 invalid_grant Token has been expired or revoked.)".to_owned();
    assert_eq!(error, SendError::NoToken { why, fix: "renew env REFRESH, reload and resume".into() });
}

#[tokio::test]
async fn trouble_of_the_token_host_is_no_verdict_on_the_credential() {
    let script = Script::of([(503, "<html>"), (200, "not JSON"), (400, r#"{"error": "temporarily_unavailable"}"#)]);
    let (room, _) = room(&script, None);
    for _ in 0..3 {
        let error = room.send(get(&grant("r")), DEADLINE).await.unwrap_err();
        assert!(matches!(&error, SendError::NotSent(why) if why.starts_with("no access token for env REFRESH (HTTP ")), "{error:?}");
    }
}

#[tokio::test]
async fn a_token_that_ends_before_its_time_is_fetched_again_and_a_fresh_one_is_judged_by_the_adapter() {
    let script = Script::of([TOKEN, FINE, (401, ""), (200, r#"{"access_token": "second"}"#), (401, "no")]);
    let (room, _) = room(&script, None);
    let grant = grant("r");
    room.send(get(&grant), DEADLINE).await.unwrap();
    let error = room.send(get(&grant), DEADLINE).await.unwrap_err();
    assert_eq!(error, SendError::NotSent("the access token for env REFRESH ended before its time".into()));
    assert_eq!(room.send(get(&grant), DEADLINE).await.unwrap().status, 401);
    assert_eq!(script.seen()[4].1.as_deref(), Some("Bearer second"));
}

#[tokio::test]
async fn a_service_account_signs_what_its_public_key_verifies() {
    let pem = include_str!("test_key.pem");
    let file = json!({"client_email": "robot@shop.example", "private_key": pem, "private_key_id": "k1"}).to_string();
    let means = Means::ServiceAccount { key_file: Secret::new("file key.json", file.as_str()), scope: "https://scope.example/a".into() };
    let grant = Arc::new(Grant { token_url: "https://auth.example/token".into(), means });
    let script = Script::of([TOKEN, FINE]);
    let (room, _) = room(&script, None);
    room.send(get(&grant), DEADLINE).await.unwrap();
    let body = script.seen()[0].2.clone();
    let assertion = body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let der = <rustls_pki_types::PrivatePkcs8KeyDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes()).unwrap();
    let key = ring::rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, key.public());
    public.verify(signed.as_bytes(), &decoded(signature)).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |text: &str| serde_json::from_slice::<Value>(&decoded(text)).unwrap();
    assert_eq!(json(header), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims = json(claims);
    assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("robot@shop.example"), Some("https://auth.example/token")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
}

#[tokio::test]
async fn a_key_file_that_is_none_is_named_and_not_shown() {
    let means = Means::ServiceAccount { key_file: Secret::new("file key.json", "{\"private_key\": \"hush\"}"), scope: "s".into() };
    let (room, _) = room(&Script::of([]), None);
    let error = room.send(get(&Arc::new(Grant { token_url: "https://auth.example/token".into(), means })), DEADLINE).await.unwrap_err();
    let SendError::NoToken { why, .. } = &error else { panic!("{error:?}") };
    assert_eq!(why, "file key.json has no client_email or no private_key");
}

#[tokio::test]
async fn a_meter_knows_when_tokens_end_and_how_often_there_was_none() {
    let both = (200, r#"{"access_token": "a", "expires_in": 3600, "refresh_token_expires_in": "604800"}"#);
    let dead = (400, r#"{"error": "invalid_grant"}"#);
    let script = Script::of([both, FINE, (503, ""), dead]);
    let (tokens, meter) = (Arc::new(Tokens::new(None)), Arc::new(Meter::default()));
    let room = Authorized::new(Arc::clone(&script) as Arc<dyn Transport>, &tokens, Arc::clone(&meter));
    assert_eq!((meter.tokens().count(), meter.tokens_missed().count()), (0, 0), "nothing is known and nothing told");
    let now = Timestamp::now().as_second();
    room.send(get(&grant("r")), DEADLINE).await.unwrap();
    let ends: Vec<(&str, i64)> = meter.tokens().map(|(token, ends)| (token, (ends - now) / 100 * 100)).collect();
    assert_eq!(ends, [("access", 3_600), ("refresh", 604_800)]);
    assert_eq!(meter.tokens_missed().collect::<Vec<_>>(), [("refused", 0), ("failed", 0)]);
    let other = grant("another");
    assert!(room.send(get(&other), DEADLINE).await.is_err() && room.send(get(&other), DEADLINE).await.is_err());
    assert_eq!(meter.tokens_missed().collect::<Vec<_>>(), [("refused", 1), ("failed", 1)]);
}
