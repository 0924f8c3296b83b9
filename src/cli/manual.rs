//! `postbackd completions SHELL` and `postbackd man DIRECTORY`: both are made from the definition of the command line, by the program
//! itself, so that they are never older than it.

use std::path::PathBuf;

use clap::CommandFactory as _;

use super::{Exit, Failure, say};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The Debian package has them in their places already. Examples:
  postbackd completions bash > ~/.local/share/bash-completion/completions/postbackd
  postbackd completions fish > ~/.config/fish/completions/postbackd.fish
  postbackd completions zsh > /usr/local/share/zsh/site-functions/_postbackd")]
pub struct Completions {
    /// Whose
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  postbackd man /usr/local/share/man/man1")]
pub struct Man {
    /// Where postbackd.1 and a page for every command are written
    directory: PathBuf,
}

pub(super) fn completions(args: &Completions) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Args::command(), "postbackd", &mut text);
    say(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Done)
}

pub(super) fn man(args: &Man) -> Result<Exit, Failure> {
    let pages = clap_mangen::generate_to(super::Args::command(), &args.directory);
    pages.map_err(|error| Failure::new(Exit::Failed, format!("{} cannot be written to: {error}", args.directory.display())))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_knows_every_command() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        man(&Man { directory: directory.path().to_owned() }).expect("pages");
        let text = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect(name);
        assert!(text("postbackd.1").contains(".TH postbackd 1"), "{}", text("postbackd.1"));
        assert!(text("postbackd-schema-install.1").contains("postbackd schema install"));
        assert!(!directory.path().join("postbackd-man.1").exists(), "a hidden command");
        for command in super::super::Args::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(text(&format!("postbackd-{name}.1")).contains(".SH SYNOPSIS"), "{name}");
        }
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut super::super::Args::command(), "postbackd", &mut text);
            let text = String::from_utf8(text).expect("text");
            for command in ["status", "preview", "completions"] {
                assert!(text.contains(command), "{shell}: {command}");
            }
        }
    }
}
