//! The command line of `cargo xtask bench`.

use super::scenario::SCENARIOS;

/// What to run.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Options {
    /// Only list the names.
    pub(super) list: bool,
    /// How often each contender runs, instead of what the scenario says.
    pub(super) rounds: Option<usize>,
    /// What was named; all, where nothing was.
    pub(super) names: Vec<String>,
}

impl Options {
    /// Reads the words after `bench`.
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--list" => options.list = true,
                "--rounds" => {
                    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                    let rounds = rounds.filter(|rounds| *rounds > 0);
                    options.rounds = Some(rounds.ok_or("--rounds wants a number from 1")?);
                }
                "first" => options.names.extend(FIRST.map(str::to_owned)),
                name if SCENARIOS.iter().any(|scenario| scenario.name == name) => {
                    options.names.push(name.to_owned());
                }
                other => {
                    return Err(format!(
                        "there is no benchmark `{other}`; `cargo xtask bench --list` shows them"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether this one is to be run.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// The figures to look at first.
const FIRST: [&str; 2] = ["small", "small-50ms"];
