//! What can go wrong at a system call.

use std::fmt;

use posthole_testkit::scene::Target;

/// One fault of one run, as a person can name it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) target: Target,
    pub(super) keep: bool,
    pub(super) call: String,
    /// The how-many-eth such call of a thread, from 1.
    pub(super) number: u32,
    pub(super) harm: Harm,
}

/// What happens at the call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Harm {
    /// It fails once.
    Error(&'static str),
    /// The program is killed right before it.
    Kill,
    /// It fails, and so do all after it.
    Lasting(&'static str),
}

impl Harm {
    /// All that may happen at a call, which is about a file of ours or not.
    pub(super) fn all_of(call: &str, is_ours: bool) -> Vec<Self> {
        if !is_ours {
            // What the server is told is a step as well.
            let harm = (call == "sendto").then_some(Self::Kill);
            return harm.into_iter().collect();
        }
        let errors = errors_of(call);
        let mut harms = Vec::new();
        if CHANGES.contains(&call) {
            harms.push(Self::Kill);
        }
        harms.extend(errors.iter().map(|&error| Self::Error(error)));
        harms.extend(
            errors
                .iter()
                .filter(|error| LASTING.contains(error) && !IS_ALSO_FOR_OTHERS.contains(&call))
                .map(|&error| Self::Lasting(error)),
        );
        harms
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Error(error) | Self::Lasting(error) => error,
            Self::Kill => "KILL",
        }
    }
}

impl Fault {
    /// Reads what `Display` writes.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let [name, keep, call, number, harm] = words else {
            return Err(
                "a fault is five words: TARGET keep|delete CALL NUMBER[+] KILL|ERROR".into(),
            );
        };
        let call = *call;
        let lasting = number.ends_with('+');
        let number = number.trim_end_matches('+').parse();
        let known = errors_of(call).iter().find(|known| *known == harm);
        Ok(Self {
            target: target(name)?,
            keep: *keep == "keep",
            call: call.to_owned(),
            number: number.map_err(|_| "the fourth word is not a number".to_owned())?,
            harm: match (*harm, known) {
                ("KILL", _) => Harm::Kill,
                (_, Some(error)) if lasting => Harm::Lasting(error),
                (_, Some(error)) => Harm::Error(error),
                (harm, None) => return Err(format!("{call} does not fail with {harm}")),
            },
        })
    }

    /// The expression of strace(1).
    pub(super) fn injection(&self) -> String {
        let Self { call, number, .. } = self;
        match self.harm {
            Harm::Error(error) => format!("inject={call}:error={error}:when={number}"),
            Harm::Kill => format!("inject={call}:signal=KILL:when={number}"),
            Harm::Lasting(error) => format!("inject={call}:error={error}:when={number}+"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            keep,
            call,
            number,
            harm,
        } = self;
        let (target, keep) = (name(*target), if *keep { "keep" } else { "delete" });
        let more = if matches!(harm, Harm::Lasting(_)) {
            "+"
        } else {
            ""
        };
        write!(f, "{target} {keep} {call} {number}{more} {}", harm.kind())
    }
}

/// A target as a person writes it.
pub(super) fn name(target: Target) -> &'static str {
    match target {
        Target::Lmtp => "lmtp",
        Target::Maildir => "maildir",
        Target::Mbox => "mbox",
        Target::Mda => "mda",
    }
}

pub(super) fn target(named: &str) -> Result<Target, String> {
    let found = Target::ALL.into_iter().find(|one| name(*one) == named);
    found.ok_or_else(|| format!("there is no destination `{named}`"))
}

/// How a call may fail for reasons that lie with the disk.
fn errors_of(call: &str) -> &'static [&'static str] {
    let known = CALLS.iter().find(|(known, _)| *known == call);
    known.map_or(&[], |(_, errors)| errors)
}

/// The calls by which files are touched, and how they may fail.
pub(super) const CALLS: &[(&str, &[&str])] = &[
    ("access", &["EIO", "EACCES"]),
    ("chmod", &["EIO", "EROFS"]),
    ("close", &["EIO", "ENOSPC", "EDQUOT"]),
    ("copy_file_range", &["ENOSPC", "EDQUOT", "EIO", "EXDEV"]),
    ("faccessat2", &["EIO", "EACCES"]),
    ("fadvise64", &["EIO"]),
    ("fallocate", &["ENOSPC", "EDQUOT", "EIO"]),
    ("fchmod", &["EIO", "EROFS"]),
    ("fchown", &["EIO", "EROFS"]),
    ("fcntl", &["ENOLCK", "EIO"]),
    ("fdatasync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("flock", &["ENOLCK", "EIO"]),
    ("fstat", &["EIO"]),
    ("fsync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("ftruncate", &["EIO", "ENOSPC", "EDQUOT"]),
    ("getdents64", &["EIO"]),
    ("link", &["EIO", "ENOSPC", "EXDEV"]),
    ("linkat", &["EIO", "ENOSPC", "EXDEV"]),
    ("lseek", &["EIO"]),
    ("mkdir", &["ENOSPC", "EDQUOT", "EIO", "EROFS"]),
    ("mmap", &["ENOMEM"]),
    ("newfstatat", &["EIO", "EACCES"]),
    (
        "openat",
        &["ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "EACCES"],
    ),
    ("pread64", &["EIO"]),
    ("pwrite64", &["ENOSPC", "EDQUOT", "EIO"]),
    ("pwritev", &["ENOSPC", "EDQUOT", "EIO"]),
    ("read", &["EIO"]),
    ("readlink", &["EIO"]),
    ("rename", &["ENOSPC", "EDQUOT", "EIO", "EXDEV", "EROFS"]),
    ("renameat", &["ENOSPC", "EDQUOT", "EIO", "EXDEV", "EROFS"]),
    (
        "renameat2",
        &["ENOSPC", "EDQUOT", "EIO", "EXDEV", "EROFS", "EINVAL"],
    ),
    ("sendfile", &["ENOSPC", "EDQUOT", "EIO"]),
    ("stat", &["EIO", "EACCES"]),
    ("statx", &["EIO", "EACCES"]),
    ("unlink", &["EIO", "EROFS"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("utimensat", &["EIO", "EROFS"]),
    ("write", &["ENOSPC", "EDQUOT", "EIO"]),
    ("writev", &["ENOSPC", "EDQUOT", "EIO"]),
];

/// Calls before which it makes a difference to be killed.
const CHANGES: &[&str] = &[
    "copy_file_range",
    "fallocate",
    "fchmod",
    "fchown",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "openat",
    "pwrite64",
    "pwritev",
    "rename",
    "renameat",
    "renameat2",
    "sendfile",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];

/// Calls that are made for pipes and events as well, and never fail there for good.
const IS_ALSO_FOR_OTHERS: &[&str] = &["close", "fcntl", "fstat", "read", "write", "writev"];

/// Errors of a state that lasts.
const LASTING: &[&str] = &["EDQUOT", "EIO", "EMFILE", "ENOSPC", "EROFS"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for text in [
            "maildir keep write 3 ENOSPC",
            "mbox delete openat 12+ EROFS",
            "lmtp delete fsync 1 KILL",
        ] {
            let words: Vec<_> = text.split(' ').collect();
            assert_eq!(Fault::parse(&words).unwrap().to_string(), text);
        }
        assert!(Fault::parse(&["mbox", "keep", "fsync", "1", "EXDEV"]).is_err());
    }
}
