//! Every message of the configuration, and the manual that `examples/postbackd.toml` is.

use std::path::Path;

use super::*;
use crate::{
    delivery::Rate,
    destination::{Basis, Mode, Start},
    event::Kind,
};

const DATABASE: &str = "[database]\nurl = \"postgres://postbackd@localhost/shop\"\n";
const EXAMPLE: &str = include_str!("../../examples/postbackd.toml");

fn env(name: &str) -> Option<String> {
    match name {
        "ALERT_WEBHOOK" => Some("https://hooks.example/T0/B0".into()),
        "TOKEN" => Some("canary-secret".into()),
        "WEB_TOKEN" => Some("0123456789abcdef".into()),
        "TRACKER_PROXY" => Some("http://p:1".into()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new("/t/test.toml"), SecretMode::Reveal, &env)
}

/// The problems of a destination's keys, as text.
fn destination(keys: &str) -> String {
    parse(&format!("{DATABASE}[destination.d]\nplatform = \"postback\"\nurl = \"https://a.example/\"\n{keys}\n"))
        .err()
        .map(|p| p.to_string())
        .unwrap_or_default()
}

fn good(keys: &str) -> Arc<Destination> {
    let text = format!("{DATABASE}[destination.d]\nplatform = \"postback\"\nurl = \"https://a.example/\"\n{keys}\n");
    parse(&text).map(|mut config| config.destinations.remove(0)).unwrap_or_else(|problems| panic!("{keys}: {problems}"))
}

#[test]
fn the_example_loads_and_its_defaults_are_the_defaults() {
    let example = parse(EXAMPLE).expect("the example");
    let bare = parse(DATABASE).expect("nothing but a database");
    assert_eq!(example.daemon, bare.daemon);
    assert_eq!(example.destinations.len(), 1);
    assert!(example.warnings.is_empty(), "{:?}", example.warnings);
}

#[test]
fn the_example_shows_every_key_and_shows_it_right() {
    let all: String = EXAMPLE.lines().map(|line| shown(line).unwrap_or(line)).fold(String::new(), |text, line| text + line + "\n");
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, AUTHORITY).expect("writing");
    let all =
        all.lines().map(|line| if line.starts_with("ca = ") { format!("ca = {authority:?}\n") } else { format!("{line}\n") }).collect::<String>();
    let asked = RefCell::default();
    let result = Config::read(&all, Path::new("/t/test.toml"), SecretMode::Reveal, &env, |doc| asked.replace(doc.asked.take()).clear());
    let config = result.unwrap_or_else(|problems| panic!("with every # taken off: {problems}"));
    assert_eq!(config.daemon.settle, Duration::from_secs(10));
    let mut section = String::new();
    let mut present = std::collections::BTreeSet::new();
    for line in all.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.replace("destination.tracker", "destination.*");
            present.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            present.insert(format!("{section}.{key}"));
        }
    }
    let missing: Vec<String> = asked.take().into_iter().filter(|key| key != "destination" && key != "apple.app" && !present.contains(key)).collect();
    assert!(missing.is_empty(), "examples/postbackd.toml does not show {missing:?}");
}

/// `#key = value` without its #.
fn shown(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The commented lines that are defaults by their own word: changing a default in code breaks this.
#[test]
fn commented_values_without_the_word_example_are_the_defaults() {
    let mut text = String::new();
    let mut example = false;
    for line in EXAMPLE.lines() {
        if line.starts_with("# ") {
            example = line.contains("xample");
        }
        let format_depends_on_the_terminal = line.starts_with("#format");
        text += if example || format_depends_on_the_terminal { line } else { shown(line).unwrap_or(line) };
        text.push('\n');
    }
    let (spelt, bare) = (parse(&text).expect("defaults written out"), parse(EXAMPLE).expect("the example"));
    assert_eq!((spelt.daemon, spelt.log.level), (bare.daemon, bare.log.level));
    let (spelt, bare) = (&spelt.destinations[0], &bare.destinations[0]);
    assert_eq!((&spelt.kinds, spelt.mode, spelt.start, spelt.basis, spelt.hold), (&bare.kinds, bare.mode, bare.start, bare.basis, bare.hold));
    assert_eq!((spelt.limits.in_flight, spelt.limits.deadline, spelt.retry), (bare.limits.in_flight, bare.limits.deadline, bare.retry));
    assert_eq!(spelt.limits.breaker_open, bare.limits.breaker_open);
}

#[test]
fn every_problem_is_reported_with_line_key_and_fix() {
    let text = "[database]\nurl = \"postgres://localhost/shop\"\npol = 4\n\n[daemon]\nsettle = 10\npoll = \"2s\"\n\n[destination.d]\nplatform = \"postbak\"\n";
    let problems = parse(text).expect_err("wrong in four places").to_string();
    assert_eq!(
        problems,
        "/t/test.toml:3: database.pol: there is no such key (did you mean pool?)\n\
         /t/test.toml:6: daemon.settle: a duration with a unit is needed here: \"10s\" (d, h, m, s, ms)\n\
         /t/test.toml:7: daemon.poll: 2s is not between 1ms and 1s\n\
         /t/test.toml:10: destination.d.platform: there is no platform \"postbak\" (did you mean postback?); known: "
            .to_owned()
            + &crate::platform::Settings::KNOWN.join(", ")
    );
}

#[test]
fn messages_of_the_file_and_of_the_daemon() {
    for (text, want) in [
        ("", "database.url: it is missing: [database] url = "),
        ("[database]\nurl = 5", "write it as { env"),
        ("[database]\nurl = \"mysql://x\"", "does not begin with postgres://"),
        ("[database]\nurl = { env = \"NOPE\" }", "the environment variable NOPE is not set"),
        ("[database]\nurl = { credential = \"db\" }", "systemd sets for the daemon by LoadCredential=db"),
        ("[database]\nurl = { file = \"/nonexistent\" }", "cannot read /nonexistent"),
        ("[database\n", "test.toml:1: this is not TOML"),
        ("database = 1", "this is a table: write [database]"),
        ("[databse]", "did you mean database?"),
        ("[database]\nurl = \"postgres://u@h/d\"\npool = 0", "a whole number between 1 and 100"),
        ("[database]\nurl = \"postgres://u@h/d\"\nca = \"/nonexistent\"", "database.ca: cannot read /nonexistent"),
    ] {
        let problems = parse(text).expect_err(text).to_string();
        assert!(problems.contains(want), "{text}\n{problems}");
    }
    for (keys, want) in [
        ("poll = \"600ms\"", "test.toml:4: daemon.poll: 600ms is longer than poll_idle (50ms)"),
        ("fence = \"5s\"", "5s is not between 2s and 4s"),
        ("wake = \"notify\"", "\"notify\" is none of poll, listen"),
        ("instance = \"\"", "it is empty"),
        ("instance = true", "a text in quotes is needed here, not true or false"),
    ] {
        let problems = parse(&format!("{DATABASE}[daemon]\n{keys}")).expect_err(keys).to_string();
        assert!(problems.contains(want), "{keys}\n{problems}");
    }
    let problems = parse(&format!("{DATABASE}[log]\nlevel = \"inof\"")).expect_err("a level").to_string();
    assert!(problems.contains("test.toml:4: log.level:"), "{problems}");
    let problems = Config::load(Path::new("/nonexistent/p.toml"), SecretMode::Reveal).expect_err("no file").to_string();
    assert!(problems.contains("--config") && problems.contains("/nonexistent/p.toml"), "{problems}");
}

#[test]
fn messages_of_a_destination() {
    for (keys, want) in [
        ("kinds = []", "an empty list wants nothing"),
        ("kinds = [\"purchas\"]", "did you mean purchase?"),
        ("kinds = [\"enrich\"]", "enrich is never sent"),
        ("kinds = [\"retract\"]", "retract follows refund"),
        ("kinds = [\"refund\"]", "a refund is sent only where its purchase was"),
        ("when = \"who.country ==\"", "test.toml:6: destination.d.when:"),
        ("mode = \"Live\"", "\"Live\" is none of live, test, shadow"),
        ("start = \"yesterday\"", "is neither \"now\" nor \"beginning\""),
        ("start = 2026-03-01", "a time with a zone"),
        ("value = \"nett\"", "did you mean net?"),
        ("deadline = \"20s\"", "raise drain to 20s"),
        ("deadline = \"2m\"", "is not between 100ms and 1m"),
        ("hold = \"30d\"", "everything would be too old"),
        ("in_flight = \"many\"", "a whole number between 1 and 1000"),
        ("proxy = { env = \"NOPE\" }", "destination.d.proxy: the environment variable NOPE"),
        ("retry = 5", "this is a table: write [destination.d.retry]"),
        ("[destination.d.retry]\nfirst = \"2h\"", "test.toml:7: destination.d.retry.first: 2h is longer than max (1h)"),
        ("[destination.d.retry]\nmax = \"2h\"\ngive_up_after = \"1h\"", "2h is longer than give_up_after (1h)"),
        ("[destination.d.retry]\ngive_up_after = \"200d\"", "daemon.retention (120d)"),
        ("[destination.d.retry]\nfrist = \"1s\"", "did you mean first?"),
        ("[destination.d.breaker]\nopen = \"10m\"", "is not between 100ms and 5m"),
        ("[destination.D]\nplatform = \"postback\"\nurl = \"https://a.example/\"", "differs from destination.d in case only"),
        ("was = \"d\"", "destination.d is still there"),
        ("[destination.x]", "destination.x.platform: it is missing; known: postback"),
        ("[destination.\"a b\"]\nplatform = \"postback\"\nurl = \"https://a.example/\"", "up to 63 letters"),
    ] {
        let problems = destination(keys);
        assert!(problems.contains(want), "{keys}\n{problems}");
    }
}

#[test]
fn a_destination_as_it_is_meant() {
    let found = good(
        "kinds = [\"lead\"]\nmode = \"shadow\"\nstart = 2026-03-01T00:00:00Z\nvalue = \"net\"\nhold = \"6h\"\nproxy = { env = \"TRACKER_PROXY\" }",
    );
    assert_eq!(found.kinds.iter().copied().collect::<Vec<_>>(), [Kind::Lead]);
    assert_eq!((found.mode, found.hold), (Mode::Shadow, Duration::from_secs(6 * 3600)));
    assert_eq!(found.start, Start::At("2026-03-01T00:00:00Z".parse().expect("a time")));
    assert_eq!(found.route.proxy.as_ref().map(Secret::reveal), Some("http://p:1"));
}

/// A platform's example: as it stands, with its defaults written out (they change nothing), and with every example in force.
#[test]
fn the_examples_of_platforms_load_and_their_defaults_are_the_defaults() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/platforms");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).expect("examples") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        let (mut defaults, mut every, mut example) = (String::new(), String::new(), false);
        for line in text.lines() {
            if line.starts_with("# ") {
                example = line.contains("Example");
            }
            let key = shown(line);
            defaults += key.filter(|_| !example).unwrap_or(line);
            every += key.unwrap_or(line);
            defaults.push('\n');
            every.push('\n');
        }
        let load = |text: &str| {
            let read = Config::parse(&format!("{DATABASE}{text}"), &path, SecretMode::Names, &env);
            read.unwrap_or_else(|problems| panic!("{problems}")).destinations.remove(0)
        };
        let (bare, spelt) = (load(&text), load(&defaults));
        assert_eq!(format!("{:?}", bare.platform), format!("{:?}", spelt.platform), "{}", path.display());
        assert_eq!((bare.basis, &bare.consent, &bare.kinds), (spelt.basis, &spelt.consent, &spelt.kinds), "{}", path.display());
        load(&every);
        count += 1;
    }
    assert_eq!(count, crate::platform::Settings::KNOWN.len() - 1, "one for each platform");
}

#[test]
fn platforms_have_defaults_and_test_modes_of_their_own() {
    let of = |keys: &str| parse(&format!("{DATABASE}[destination.d]\n{keys}"));
    let one = |keys: &str| of(keys).expect(keys).destinations.remove(0);
    const AWIN: &str = "platform = \"awin\"\nadvertiser = 1\n";
    const META: &str = "platform = \"meta\"\ndataset = 1\naccess_token = \"t\"\n";
    let net = Basis { without_tax: true, without_shipping: true };
    assert_eq!((one(AWIN).basis, one(&format!("{AWIN}value = \"gross\"")).basis, one(META).basis), (net, Basis::default(), Basis::default()));
    let rate = |keys: &str| one(keys).limits.rate;
    assert_eq!((rate(AWIN), rate(&format!("{AWIN}per_second = 9"))), (Some(Rate::per_second(1)), Some(Rate::per_second(9))));
    assert_eq!(rate(&format!("{AWIN}per_minute = 20")), Some(Rate::per_minute(20)));
    assert_eq!(rate(&format!("{AWIN}per_second = 1\nper_hour = 1000\nper_minute = 100")), Some(Rate::per_hour(1_000)), "the slowest");
    const IMPACT: &str = "platform = \"impact\"\naccount = \"a\"\nauth_token = \"t\"\ncampaign = 1\nevent_types = { purchase = 1 }\n";
    assert_eq!((rate(IMPACT), rate(&format!("{IMPACT}per_second = 9"))), (Some(Rate::per_hour(1_000)), Some(Rate::per_second(9))));
    assert_eq!(rate(META), None);
    assert_ne!(one(AWIN).digest, one(&format!("{AWIN}value = \"gross\"")).digest);
    let problems = of(&format!("{META}mode = \"test\"")).expect_err("no code").to_string();
    assert!(problems.contains("destination.d.test_event_code") && problems.contains("Events Manager"), "{problems}");
    assert_eq!(one(&format!("{META}mode = \"test\"\ntest_event_code = \"T1\"")).mode, Mode::Test);
}

#[test]
fn the_manual_of_apple_shows_its_defaults() {
    let table = |defaults: bool| {
        let (mut text, mut within, mut example) = (DATABASE.to_owned(), false, false);
        for line in EXAMPLE.lines() {
            within = if line.starts_with('[') { line == "[apple]" } else { within };
            if line.starts_with("# ") {
                example = line.contains("Example");
            }
            let wanted = shown(line).filter(|_| example || defaults).unwrap_or(line);
            text += if within { wanted } else { "" };
            text.push('\n');
        }
        parse(&text).expect(&text).apple.expect("it listens")
    };
    assert_eq!(table(true), table(false));
    let app = &table(false).apps[&525_463_029];
    assert_eq!((app.fine.len(), app.coarse.len()), (3, 5));
}

#[test]
fn the_documentation_of_apple_is_a_configuration() {
    for document in [include_str!("../../docs/apple.md"), include_str!("../../README.md").split("### Apple's postbacks").nth(1).unwrap_or_default()] {
        let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let text: String = blocks.take(2).take_while(|block| block.contains("apple")).collect();
        let config = parse(&format!("{DATABASE}{text}")).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        assert!(config.apple.is_some_and(|apple| apple.apps.len() == 1), "{text}");
        assert!(config.destinations.iter().all(|to| to.apple && to.kinds.contains(&Kind::Install)));
    }
}

#[test]
fn messages_of_apple() {
    let problems = |keys: &str| {
        let text = format!("{DATABASE}[apple]\nlisten = \"127.0.0.1:1\"\n{keys}\n");
        parse(&text).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    assert_eq!(problems("app.5.name = \"x\""), "");
    for (keys, want) in [
        ("", "test.toml:3: apple.app: no app is named"),
        ("app.x.name = \"x\"", "apple.app.x: an app is named by its id"),
        ("app.5.nam = \"x\"", "test.toml:5: apple.app.5.nam: there is no such key (did you mean name?)"),
        ("app.5.currency = \"euro\"", "\"euro\" is no currency"),
        ("app.5.fine = { 64 = \"x\" }", "apple.app.5.fine.64: a conversion value is 0 to 63"),
        ("app.5.fine = { 9-1 = \"x\" }", "a range like \"10-19\""),
        ("app.5.fine = { 07 = \"x\" }", "a conversion value is 0 to 63"),
        ("app.5.fine = { 1-9 = \"x\", 9 = \"y\" }", "it means two things"),
        ("app.5.fine = { 1 = 2 }", "a text is needed here, or { meaning ="),
        ("app.5.fine = { 1 = { value = \"2\" } }", "apple.app.5.currency: it is missing"),
        ("app.5 = { currency = \"EUR\", fine = { 1 = { value = 2.5 } } }", "apple.app.5.fine.1.value: an amount in quotes"),
        ("app.5 = { currency = \"EUR\", fine = { 1 = { value = \"-1\" } } }", "not negative"),
        ("app.5 = { currency = \"EUR\", fine = { 1 = { valu = \"1\" } } }", "there is no such key; a text"),
        (
            "app.5 = { currency = \"EUR\", fine = { 1 = { value = \"4.999\" } } }",
            "apple.app.5.fine.1.value: 4.999 has more decimals than EUR, which has 2",
        ),
        ("app.05.name = \"x\"", "apple.app.05: an app is named by its id"),
        ("app.5.name = \"x\"\n[web]\nlisten = \"127.0.0.1:1\"", "apple.listen: 127.0.0.1:1 is [web] listen too"),
        ("app.5.coarse = { some = \"x\" }", "a coarse value is low, medium or high"),
        ("app.5.name = \"x\"\nproxies = [\"10.0.0.0/33\"]", "is neither an address nor a network"),
        ("app.5.name = \"x\"\ndevelopment = \"yes\"", "true or false is needed here, not a text"),
        ("app.5.name = \"x\"\nper_second = 0", "a whole number between 1 and 10000"),
    ] {
        assert!(problems(keys).contains(want), "{keys}\n{}", problems(keys));
    }
    let text = format!("{DATABASE}[apple]\nlisten = \"8079\"\napp.5.name = \"x\"");
    assert!(parse(&text).expect_err("no address").to_string().contains("\"127.0.0.1:8079\" or"));
    let warned =
        |keys: &str| parse(&format!("{DATABASE}[apple]\nlisten = \"127.0.0.1:1\"\napp.5.name = \"x\"\n{keys}")).expect(keys).warnings.join("; ");
    let asking = |key: &str| {
        let destination = "[destination.r]\nplatform = \"postback\"\nurl = \"https://t.example/?k={{ event_id }}\"\napple = true";
        warned(&format!("forward = true\n{destination}\n{key}"))
    };
    assert!(asking("consent = [\"ads\"]").contains("destination.r.consent: Apple's postbacks carry neither"));
    assert!(asking("click = [\"gclid\"]").contains("destination.r.click: Apple's postbacks carry neither"));
    assert!(!asking("").contains("carry neither"));
    assert!(warned("forward = true").contains("no destination wants Apple's postbacks"));
    let relay = "[destination.r]\nplatform = \"apple_relay\"\nbase_url = \"https://p.example\"\nprotocols = [\"skadnetwork\"]";
    assert!(warned(relay).contains("set forward = true"));
    assert!(!warned(&format!("forward = true\n{relay}")).contains("Apple's postbacks"));
    assert_eq!(good("apple = true").kinds.iter().copied().collect::<Vec<_>>(), [Kind::Install, Kind::Custom]);
    assert!(!good("kinds = [\"install\"]").apple);
    assert!(destination("apple = true\nkinds = [\"purchase\"]").contains("are of the kinds install and custom"));
}

#[test]
fn the_digest_follows_what_shapes_a_request_and_nothing_else() {
    let plain = good("");
    assert_eq!(plain.digest.len(), 64);
    for same in ["per_second = 5", "[destination.d.retry]\nfirst = \"1s\"", "proxy = { env = \"TRACKER_PROXY\" }"] {
        assert_eq!(plain.digest, good(same).digest, "{same}");
    }
    for other in ["value = \"net\"", "mode = \"shadow\""] {
        assert_ne!(plain.digest, good(other).digest, "{other}");
    }
}

#[test]
fn the_fingerprint_follows_everything() {
    let of = |keys: &str| {
        let text = format!("{DATABASE}[destination.d]\nplatform = \"postback\"\nurl = \"https://a.example/\"\n{keys}\n");
        parse(&text).expect(keys).fingerprint("d").to_owned()
    };
    assert_eq!(of(""), of("# a comment"));
    let all = [
        "",
        "per_second = 5",
        "when = \"who.country == 'DE'\"",
        "[destination.d.retry]\nfirst = \"1s\"",
        "[http]\nproxy = { env = \"TRACKER_PROXY\" }",
    ];
    let seen: std::collections::BTreeSet<String> = all.iter().map(|keys| of(keys)).collect();
    assert_eq!(seen.len(), all.len());
    assert_eq!(of("").len(), 64);
}

#[test]
fn secrets_are_read_or_named_and_never_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    std::fs::write(&path, "canary-secret\n").expect("writing");
    let value = |text: &str| toml::Value::Table(text.parse().expect("TOML"));
    let env = |name: &str| if name == "CREDENTIALS_DIRECTORY" { Some(directory.path().display().to_string()) } else { env(name) };
    let vault = secret::Vault { base: directory.path(), env: &env };
    for text in ["env = \"TOKEN\"", "file = \"token\"", "credential = \"token\""] {
        let (found, _) = vault.find(&value(text), SecretMode::Reveal).expect(text);
        assert_eq!(found.reveal(), "canary-secret", "{text}");
        assert!(!format!("{found:?} {found}").contains("canary"));
        let (named, _) = vault.find(&value(text), SecretMode::Names).expect(text);
        assert!(named.reveal().starts_with("SECRET.") && named.reveal().to_lowercase().ends_with("token"), "{named:?}");
        assert!(named.reveal().chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)), "{named:?} would be percent-encoded");
    }
    let (inline, _) = vault.find(&toml::Value::String("canary-secret".into()), SecretMode::Names).expect("plain text");
    assert_eq!(inline.reveal(), "SECRET.inline");
    let named = vault.find(&value("env = \"NOT_SET\""), SecretMode::Names);
    assert!(named.is_ok(), "a preview needs no secret");
    for bad in ["credential = \"../token\"", "env = \"\"", "vault = \"x\"", "env = \"A\"\nfile = \"b\""] {
        assert!(vault.find(&value(bad), SecretMode::Reveal).is_err(), "{bad}");
    }
}

#[test]
fn the_packages_directory_of_credentials_needs_no_line_in_a_unit() {
    let (etc, run) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    std::fs::create_dir(etc.path().join("credentials")).expect("a directory");
    std::fs::write(etc.path().join("credentials/token"), "by-hand\n").expect("writing");
    std::fs::write(run.path().join("postbackd_token"), "by-unit\n").expect("writing");
    let value = toml::Value::Table("credential = \"token\"".parse().expect("TOML"));
    let found = |env: &dyn Fn(&str) -> Option<String>| {
        let vault = secret::Vault { base: etc.path(), env };
        vault.find(&value, SecretMode::Reveal).map(|(secret, _)| secret.reveal().to_owned())
    };
    assert_eq!(found(&|_| None).as_deref(), Ok("by-hand"));
    let unit = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| run.path().display().to_string());
    assert_eq!(found(&unit).as_deref(), Ok("by-unit"));
    // A line of the admin's own comes first.
    std::fs::write(run.path().join("token"), "by-admin\n").expect("writing");
    assert_eq!(found(&unit).as_deref(), Ok("by-admin"));
    std::fs::remove_file(run.path().join("token")).and_then(|()| std::fs::remove_file(run.path().join("postbackd_token"))).expect("removing");
    assert!(found(&unit).is_err_and(|error| error.contains("/etc/postbackd/credentials")), "what the unit was not given is not looked for elsewhere");
}

#[test]
fn a_secret_that_everybody_can_read_is_worth_a_word() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("url");
    std::fs::write(&path, "postgres://u:canary@h/d\n").expect("writing");
    let text = format!(
        "[database]\nurl = {{ file = {path:?} }}\n[destination.d]\nplatform = \"postback\"\nurl = \"https://a.example/\"\nclick = [\"glcid\"]"
    );
    for (mode, want) in [(0o644, 2), (0o600, 1)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let config = parse(&text).expect("a configuration");
        assert_eq!(config.warnings.len(), want, "{:?}", config.warnings);
        assert!(!format!("{config:?}").contains("canary"), "Debug shows a secret");
    }
}

/// Any self-signed certificate: only that it can be read matters.
const AUTHORITY: &str = include_str!("testdata/authority.pem");

#[test]
fn what_listens_beyond_this_machine_needs_a_token() {
    let web = |keys: &str| parse(&format!("{DATABASE}[web]\n{keys}\n")).map(|config| config.web).map_err(|problems| problems.to_string());
    assert!(web("listen = \"127.0.0.1:9187\"").is_ok_and(|web| web.is_some_and(|web| web.token.is_none())));
    assert!(web("listen = \"0.0.0.0:9187\"\ntoken = \"0123456789abcdef\"").is_ok());
    for (keys, key, part) in [
        ("listen = \"0.0.0.0:9187\"", "web.listen", "give it a token"),
        ("listen = \"[::]:9187\"", "web.listen", "give it a token"),
        ("listen = \"localhost:9187\"", "web.listen", "is no address and port"),
        ("listen = \"127.0.0.1:9187\"\ntoken = \"short\"", "web.token", "shorter than 16"),
        ("token = \"0123456789abcdef\"", "web.token", "nothing is listened for"),
        ("listen = \"127.0.0.1:9187\"\ntokn = \"x\"", "web.tokn", "token"),
    ] {
        let text = web(keys).expect_err(keys);
        assert!(text.contains(key) && text.contains(part), "{keys}: {text}");
    }
}
