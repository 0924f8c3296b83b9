//! `examples/demo.sh` as a reader runs it, with the binary under test.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::support::daemon::BINARY;

fn demo(forge: Option<&str>) -> Command {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/demo.sh");
    let mut command = Command::new(script);
    command.env("POSTBACKD_DEMO_BIN", BINARY).env("NO_COLOR", "1").env_remove("POSTBACKD_DEMO_FORGE").stdin(Stdio::null());
    if let Some(name) = forge {
        command.env("POSTBACKD_DEMO_FORGE", name);
    }
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_promise_is_kept_and_every_forgery_is_found() {
    let output = demo(Some("each")).output().expect("running the demo");
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("kept ")).count(), 9, "{text}");
    assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("found ")).count(), 7, "{text}");
}

#[test]
fn a_broken_promise_is_named_and_fails_the_demo() {
    let output = demo(Some("ghost")).output().expect("running the demo");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("BROKEN  nothing is sent for orders that were abandoned, rolled back, declined or taken back: purchase 1005 at tracker"),
        "{text}"
    );
}

/// What Ctrl-C at a terminal does: the whole group gets the signal.
#[test]
fn interrupted_it_leaves_nothing_behind() {
    use std::os::unix::process::CommandExt;

    let mut child = demo(None).stdout(Stdio::piped()).process_group(0).spawn().expect("starting the demo");
    let mut lines = BufReader::new(child.stdout.take().expect("piped above")).lines().map_while(Result::ok);
    let directory = lines.find_map(|line| Some(PathBuf::from(line.split_once(" in /tmp/")?.1))).expect("it names its directory");
    let directory = PathBuf::from("/tmp").join(directory);
    assert!(lines.any(|line| line.contains("order 1001 is paid")), "the shop opens");
    assert!(directory.join("data/postmaster.pid").exists(), "{directory:?}");
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().expect("kill").success());
    // The pipe ends when everything that holds it has ended.
    lines.for_each(drop);
    assert_eq!(child.wait().expect("waiting for the demo").code(), Some(130));
    assert!(!directory.exists(), "{directory:?} is still there");
}
