//! The `posthole trust` that records a host key after a look at it, for hints.
//!
//! It is there to be pasted into a shell, so that what a shell minds is quoted.

use std::path::{Path, PathBuf};

/// What a command is about, with names as the command line takes them.
#[derive(Clone, Debug)]
pub struct TrustCommand<'a> {
    /// Another configuration file than the usual one.
    pub config: Option<&'a Path>,
    /// Other known_hosts files than those of the configuration.
    pub known_hosts: &'a [PathBuf],
    /// The hosts on the way.
    pub via: &'a [String],
    /// The host.
    pub host: &'a str,
    /// The fingerprint that the key must have.
    pub fingerprint: Option<&'a str>,
}

impl std::fmt::Display for TrustCommand<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            config,
            known_hosts,
            via,
            host,
            fingerprint,
        } = self;
        f.write_str("posthole trust")?;
        let path = |path: &Path| quoted(&path.display().to_string());
        if let Some(file) = config {
            write!(f, " --config {}", path(file))?;
        }
        for file in *known_hosts {
            write!(f, " --known-hosts {}", path(file))?;
        }
        for host in *via {
            write!(f, " --via {}", quoted(host))?;
        }
        write!(f, " {}", quoted(host))?;
        match fingerprint {
            Some(fingerprint) => write!(f, " --fingerprint {fingerprint}"),
            None => Ok(()),
        }
    }
}

/// As one word of a shell, on one line.
fn quoted(word: &str) -> String {
    let word = crate::tunnel::text::clean(word, usize::MAX);
    shell_words::quote(&word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_a_shell() {
        let via = [r"CORP\me@gate".to_owned(), "a$b@[::1]:22".to_owned()];
        let known_hosts = ["/h/known hosts".into()];
        let command = TrustCommand {
            config: Some(Path::new("/c/it's.toml")),
            known_hosts: &known_hosts,
            via: &via,
            host: "popserver:20222",
            fingerprint: Some("SHA256:x"),
        };
        let words = shell_words::split(&command.to_string()).unwrap();
        assert_eq!(
            words,
            [
                "posthole",
                "trust",
                "--config",
                "/c/it's.toml",
                "--known-hosts",
                "/h/known hosts",
                "--via",
                r"CORP\me@gate",
                "--via",
                "a$b@[::1]:22",
                "popserver:20222",
                "--fingerprint",
                "SHA256:x"
            ]
        );
    }
}
