//! `deliver`: where messages go.

use std::path::PathBuf;
use std::str::FromStr;

use super::{ValueError, parse_path};
use crate::config::did_you_mean;

/// A destination as written, its path not yet expanded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deliver {
    /// `maildir:PATH`.
    Maildir(PathBuf),
}

impl FromStr for Deliver {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Some((kind, place)) = text.split_once(':') else {
            return Err(ValueError::new(
                "it is not said what kind of destination this is",
                0..text.len(),
            )
            .help(format!("write {EXAMPLE}")));
        };
        match kind {
            "maildir" => {
                let path = parse_path(place).map_err(|error| error.shifted(kind.len() + 1))?;
                Ok(Self::Maildir(path))
            }
            "lmtp" | "mbox" | "mda" | "smtp" => Err(ValueError::new(
                format!("delivery to `{kind}:` is not supported yet"),
                0..kind.len(),
            )
            .help("only `maildir:` is, such as `maildir:~/Mail`")),
            _ => {
                let error = ValueError::new("unknown kind of destination", 0..kind.len());
                Err(match did_you_mean(kind, KINDS) {
                    Some(near) => error.help(format!("did you mean `{near}:`?")),
                    None => error.help(format!("write {EXAMPLE}")),
                })
            }
        }
    }
}

const EXAMPLE: &str = "`maildir:` and a directory, such as `maildir:~/Mail`";
const KINDS: &[&str] = &["lmtp", "maildir", "mbox", "mda", "smtp"];
