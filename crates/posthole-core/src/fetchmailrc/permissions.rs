//! Who may own and read an rc file.

use crate::config::Diagnostic;

/// Refuses an rc file that fetchmail refuses (fetchmail(1), THE RUN CONTROL FILE).
///
/// `mode` are the mode bits of what was opened (inode(7)), `owner` its owner, and `user` our
/// effective user id. Neither standard input nor `/dev/null` is checked, nor is anything checked
/// for `--version`. That a group may execute it is nobody's concern.
#[must_use]
pub fn check_permissions(mode: u32, owner: u32, user: u32) -> Option<Diagnostic> {
    if mode & TYPE != REGULAR {
        return Some(Diagnostic::error("the rc file is not a regular file"));
    }
    if mode & OF_OTHERS != 0 {
        let permissions = mode & 0o7777;
        return Some(
            Diagnostic::error("the rc file, which may hold passwords, is open to others").help(
                format!("`chmod 600` it (its mode is {permissions:04o}, and 0700 is the most)"),
            ),
        );
    }
    if owner != user {
        return Some(
            Diagnostic::error(format!("the rc file belongs to user {owner}, not to you"))
                .help(format!("`chown {user}` it, or run as its owner")),
        );
    }
    None
}

/// `S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH | S_IXOTH`.
const OF_OTHERS: u32 = 0o067;
/// `S_IFREG`.
const REGULAR: u32 = 0o100_000;
/// `S_IFMT`.
const TYPE: u32 = 0o170_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_refused_as_fetchmail_refuses_it() {
        for (mode, owner, refused) in [
            (0o100_600, 1000, false),
            (0o100_700, 1000, false),
            (0o100_710, 1000, false),
            (0o104_600, 1000, false),
            (0o100_640, 1000, true),
            (0o100_620, 1000, true),
            (0o100_604, 1000, true),
            (0o100_602, 1000, true),
            (0o100_601, 1000, true),
            (0o040_700, 1000, true),
            (0o020_600, 1000, true),
            (0o100_600, 0, true),
        ] {
            let diagnostic = check_permissions(mode, owner, 1000);
            assert_eq!(diagnostic.is_some(), refused, "{mode:o} of {owner}");
        }
    }
}
