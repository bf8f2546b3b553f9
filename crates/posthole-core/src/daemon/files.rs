//! Files whose change may end an account's trouble.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::plan::{Job, PasswordSource, Route};

/// What some files looked like.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

/// What one looked like: its inode, when its contents and when its inode changed, and its size.
type Stamp = (u64, i64, i64, i64, i64, u64);

impl Stamps {
    /// Looks at the files now; blocks.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self(paths.into_iter().map(look).collect())
    }

    /// Looks at the same files again; blocks.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.0.keys().cloned())
    }

    /// What these files looked like at the time, or do now if that is not known; blocks for those.
    pub(super) fn about(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let known = self.0.remove(&path);
            let stamp = known.unwrap_or_else(|| stamp(&path));
            (path, stamp)
        };
        Self(paths.into_iter().map(look).collect())
    }

    /// Whether one of them looks different now; blocks.
    #[must_use]
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.size(),
    ))
}

/// The files that the logins of a job depend on.
pub(super) fn of_job(job: &Arc<Job>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    of_password(&job.password, &mut paths);
    if let Some(identity) = &job.tls.identity {
        paths.push(identity.certificate.clone());
        paths.push(identity.key.clone());
    }
    if let Route::Ssh(hops) = &job.route {
        for hop in hops.iter() {
            paths.extend(hop.identities.iter().cloned());
            paths.extend(hop.certificates.iter().cloned());
            paths.extend(hop.known_hosts.iter().cloned());
            paths.extend(hop.agent.clone());
            of_password(&hop.password, &mut paths);
        }
    }
    paths
}

fn of_password(source: &PasswordSource, paths: &mut Vec<PathBuf>) {
    match source {
        PasswordSource::Credential { name: _, path } | PasswordSource::File(path) => {
            paths.push(path.clone());
        }
        PasswordSource::Netrc(entry) => paths.push(entry.file.clone()),
        // What these say can be found out only by asking them.
        PasswordSource::Command(_)
        | PasswordSource::Given { .. }
        | PasswordSource::Keyring(_)
        | PasswordSource::Prompt => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_comes_goes_or_changes_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let absent = Stamps::of([path.clone()]);
        assert!(!absent.have_changed());
        std::fs::write(&path, "one\n").unwrap();
        assert!(absent.have_changed());
        let present = Stamps::of([path.clone()]);
        assert!(!present.have_changed());
        // As editors do it: another file of the same size takes its place.
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, "two\n").unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        assert!(present.have_changed());
        // What was seen before something was read counts, not what is there when it was read.
        let other = directory.path().join("other");
        let both = present.about([path, other]);
        assert!(both.have_changed());
        assert!(!both.again().have_changed());
    }
}
