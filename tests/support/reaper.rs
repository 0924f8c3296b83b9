//! Cleans up behind this process, however it ends. A `sh` of its own process group reads lines from a pipe that only we
//! hold; at its end, which the kernel also brings about after kill -9, it runs them in order.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock},
};

/// The `sh` that waits for our end.
pub struct Reaper {
    to: Mutex<ChildStdin>,
    _child: Child,
}

static REAPER: OnceLock<Reaper> = OnceLock::new();

/// Has `command`, one line of shell, run when this process is gone. Register before making what it removes.
pub fn at_exit(command: &str) {
    assert!(!command.contains('\n'), "one line of shell: {command}");
    let reaper = REAPER.get_or_init(Reaper::start);
    let mut to = reaper.to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    writeln!(to, "{command}").and_then(|()| to.flush()).expect("the cleaning shell has gone");
}

impl Reaper {
    fn start() -> Self {
        // Its output goes nowhere: a test runner would wait for whoever holds its pipes.
        let mut child = Command::new("sh")
            .args(["-c", "all=; while IFS= read -r line; do all=\"$all$line;\"; done; eval \"$all\""])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .expect("sh is needed to clean up behind the tests");
        let to = child.stdin.take().expect("piped above");
        Self { to: Mutex::new(to), _child: child }
    }
}

/// `text` as one word of shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
