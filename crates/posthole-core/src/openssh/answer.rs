//! What `ssh -G` prints: a keyword and its value on each line, with everything filled in.

use std::collections::HashMap;

/// The settings of ssh_config(5) that hold for a host.
///
/// Keywords are in lower case and have the names of OpenSSH 9.2, whichever version prints them. A
/// value stands as printed: some of OpenSSH's lists are separated by commas, some by blanks, and
/// nothing is quoted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    pub(super) settings: HashMap<String, Vec<String>>,
}

impl Answer {
    /// Reads what `ssh -G` prints.
    ///
    /// A line that is not understood is none of ours: a later version says something new there.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let mut settings: HashMap<String, Vec<String>> = HashMap::new();
        for line in output.lines() {
            let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
            let keyword = keyword.to_ascii_lowercase();
            let former = FORMER_NAMES.iter().find(|(former, _)| *former == keyword);
            let keyword = former.map_or(keyword, |(_, name)| (*name).to_owned());
            if !keyword.is_empty() {
                settings.entry(keyword).or_default().push(value.to_owned());
            }
        }
        Self { settings }
    }

    /// The value of a keyword; the first where it may have several.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.all(keyword).first().map(String::as_str)
    }

    /// All values of a keyword, in order.
    #[must_use]
    pub fn all(&self, keyword: &str) -> &[String] {
        self.settings.get(keyword).map_or(&[], Vec::as_slice)
    }

    /// Puts values in the place of others.
    pub(super) fn replace(&mut self, keyword: &str, values: Vec<String>) {
        self.settings.insert(keyword.to_owned(), values);
    }
}

/// What OpenSSH called it before 8.5.
const FORMER_NAMES: &[(&str, &str)] = &[
    ("hostbasedkeytypes", "hostbasedacceptedalgorithms"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"),
];
