//! The command line of `cargo xtask bench`.

/// What to run.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Options {
    /// Only list the names.
    pub(super) list: bool,
    /// How often each contender runs, instead of what the scenario says.
    pub(super) rounds: Option<usize>,
    /// Whether doc/benchmarks.md is brought up to date; always so when nothing is named.
    pub(super) write: bool,
    /// What was named; all, where nothing was.
    pub(super) names: Vec<String>,
}

impl Options {
    /// Reads the words after `bench`; what is not among `known` is refused.
    pub(super) fn parse(arguments: &[&str], known: &[&str]) -> Result<Self, String> {
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
                "--write" => options.write = true,
                "first" => options.names.extend(FIRST.map(str::to_owned)),
                name if known.contains(&name) => options.names.push(name.to_owned()),
                other => {
                    return Err(format!(
                        "there is no benchmark `{other}`; `cargo xtask bench --list` shows them"
                    ));
                }
            }
        }
        options.write |= options.names.is_empty();
        Ok(options)
    }

    /// Whether this one is to be run.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// The figures to look at first.
const FIRST: [&str; 2] = ["small", "small-50ms"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_writes_nothing_unless_it_is_told_to() {
        let parse = |words: &[&str]| Options::parse(words, &["small", "small-50ms", "large"]);
        let all = parse(&[]).unwrap();
        assert!(all.write && all.wants("large"));
        let first = parse(&["first", "--rounds", "3"]).unwrap();
        assert_eq!((first.rounds, first.write), (Some(3), false));
        assert!(first.wants("small-50ms") && !first.wants("large"));
        assert!(parse(&["large", "--write"]).unwrap().write);
        assert!(parse(&["larger"]).is_err());
        assert!(parse(&["--rounds", "0"]).is_err());
    }
}
