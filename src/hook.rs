//! Telling somebody outside: a program with a document on its standard input. No shell, none of the daemon's environment but where
//! programs and homes are, and an end after a time.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::Command};

/// What of the environment is passed on: the rest may hold the daemon's secrets.
const PASSED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// Runs a program to its end and wants exit code 0; the error is for a log. What it prints is nobody's.
pub async fn run(argv: &[String], document: &str, within: Duration) -> Result<(), String> {
    let [program, arguments @ ..] = argv else { return Err("no program is named".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // Whatever it starts belongs to it, and ends with it.
    command.process_group(0);
    command.envs(PASSED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be started: {error}"))?;
    let (group, input) = (child.id(), child.stdin.take());
    let ends = async {
        if let Some(mut input) = input {
            // Whoever does not care for it closes it.
            let _ = input.write_all(document.as_bytes()).await;
        }
        child.wait().await
    };
    match tokio::time::timeout(within, ends).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program} ended with {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => {
            if let Some(group) = group {
                let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).stderr(Stdio::null()).status().await;
            }
            Err(format!("{program} has not ended within {} and was killed", crate::words::duration(within)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_program_gets_the_document_and_little_else() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_string_lossy().into_owned();
        let script = argv(&["/bin/sh", "-c", "cat > \"$1\"; env | grep -c ^CARGO >> \"$1\"; true", "sh", &path]);
        run(&script, "{\"a\": 1}\n", Duration::from_secs(20)).await.expect("it runs");
        assert_eq!(std::fs::read_to_string(file.path()).expect("what it wrote"), "{\"a\": 1}\n0\n");
    }

    #[tokio::test]
    async fn what_fails_hangs_or_is_not_there_is_said() {
        let long = Duration::from_secs(20);
        assert_eq!(run(&argv(&["/bin/sh", "-c", "exit 3"]), "", long).await, Err("/bin/sh ended with exit status: 3".into()));
        assert!(run(&argv(&["/nonexistent/program"]), "", long).await.is_err_and(|why| why.contains("cannot be started")));
        let hanging = run(&argv(&["/bin/sleep", "600"]), "", Duration::from_millis(50)).await;
        assert_eq!(hanging, Err("/bin/sleep has not ended within 50ms and was killed".into()));
        // With what it has begun itself.
        let began = tempfile::NamedTempFile::new().expect("a file");
        let script = argv(&["/bin/sh", "-c", "sleep 600 & echo $! > \"$1\"; wait", "sh", &began.path().to_string_lossy()]);
        assert!(run(&script, "", Duration::from_secs(1)).await.is_err_and(|why| why.contains("was killed")));
        let child = std::fs::read_to_string(began.path()).expect("its number");
        assert!(!child.trim().is_empty());
        // A signal that was sent ends a process when the kernel gives it its next turn; it would sleep for ten minutes without.
        let (sent, mut state) = (Instant::now(), String::from(") S"));
        while state.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with(['S', 'R', 'D'])) {
            assert!(sent.elapsed() < Duration::from_secs(10), "process {child} lives on: {state}");
            tokio::task::yield_now().await;
            state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        }
        // More than a pipe holds, to one that reads nothing.
        run(&argv(&["/bin/true"]), &"x".repeat(1 << 20), long).await.expect("it ends well");
        assert!(run(&[], "", long).await.is_err());
    }
}
