//! What OpenSSH's configuration says about a host, told from OpenSSH's own defaults.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::openssh::Answer;

/// The answer of `ssh -G` about a host, beside the one that it gives without any configuration.
///
/// Our own defaults are better than OpenSSH's for some settings (it never looks for a sign of life,
/// for one), and must not win over what a person wrote. `ssh -G` prints both alike; but what it
/// prints without any configuration, nobody wrote.
#[derive(Debug)]
pub(super) struct Said {
    answer: Arc<Answer>,
    defaults: Arc<Answer>,
    /// Where `~` leads, and where a relative path starts.
    home: Option<PathBuf>,
    cwd: PathBuf,
}

impl Said {
    /// `home` is where `~` leads if `ssh` does not know.
    pub(super) fn new(
        answer: Arc<Answer>,
        defaults: Arc<Answer>,
        home: Option<&Path>,
        cwd: &Path,
    ) -> Self {
        // See the probe in `openssh::Ssh`: it is the user database's, which `HOME` does not change.
        let own = defaults.get("controlpath").map(Path::new);
        let home = own.filter(|path| path.is_absolute()).or(home);
        Self {
            home: home.map(Path::to_owned),
            cwd: cwd.to_owned(),
            answer,
            defaults,
        }
    }

    /// What holds, whoever said it; none for `none`.
    pub(super) fn holds(&self, keyword: &str) -> Option<&str> {
        self.answer.get(keyword).filter(|value| *value != "none")
    }

    /// What the configuration says; none where it leaves OpenSSH its default.
    pub(super) fn says(&self, keyword: &str) -> Option<&str> {
        let is_said = self.answer.all(keyword) != self.defaults.all(keyword);
        self.answer.get(keyword).filter(|_| is_said)
    }

    /// Whether a setting is on.
    pub(super) fn is_on(&self, keyword: &str) -> bool {
        matches!(self.holds(keyword), Some("yes" | "true"))
    }

    /// Whether a setting is off that is on by default.
    pub(super) fn is_off(&self, keyword: &str) -> bool {
        matches!(self.holds(keyword), Some("no" | "false"))
    }

    /// A number that the configuration says.
    pub(super) fn number<T: std::str::FromStr>(&self, keyword: &str) -> Option<T> {
        self.says(keyword)?.parse().ok()
    }

    /// Names with commas between them that the configuration says.
    pub(super) fn names(&self, keyword: &str) -> Option<Vec<String>> {
        let names = self.says(keyword)?.split(',');
        Some(names.map(str::to_owned).collect())
    }

    /// The files that a keyword names, one by one.
    pub(super) fn files(&self, keyword: &str) -> Vec<PathBuf> {
        let values = self.answer.all(keyword).iter();
        values
            .filter(|value| *value != "none")
            .map(|value| self.path(value))
            .collect()
    }

    /// The files that a keyword names on a line of its own.
    ///
    /// Nothing is quoted there, and a file's name may hold blanks; but hardly one has a blank
    /// before a slash, and OpenSSH expands all of them to absolute paths.
    pub(super) fn files_in_line(&self, keyword: &str) -> Vec<PathBuf> {
        let Some(line) = self.holds(keyword) else {
            return Vec::new();
        };
        let begins = |text: &str| text.starts_with(['/', '~']);
        let mut files: Vec<String> = Vec::new();
        for word in line.split(' ') {
            match files.last_mut() {
                Some(last) if begins(last) && !begins(word) => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => files.push(word.to_owned()),
            }
        }
        files.iter().map(|file| self.path(file)).collect()
    }

    /// A path as `ssh` takes it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        match (Path::new(path).strip_prefix("~"), &self.home) {
            (Ok(below), Some(home)) => home.join(below),
            _ => self.cwd.join(path),
        }
    }

    /// The answer itself.
    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }
}
