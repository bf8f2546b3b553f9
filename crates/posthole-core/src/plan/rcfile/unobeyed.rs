//! Options that are not obeyed: each is said once, with the reason.
//!
//! This is the one place that knows them; what is passed on to a [`Job`](crate::plan::Job) one day
//! leaves the list here. posthole-fetchmail(1) has the same list in its table.

use super::Mapping;
use crate::config::Diagnostic;
use crate::fetchmailrc::RetrieveError;

impl Mapping<'_> {
    pub(super) fn warn_of_unobeyed(&mut self) {
        let written = [self.of_server(), self.of_user()];
        for (option, reason) in written.into_iter().flatten().flatten() {
            let message = format!("`{option}` is not obeyed: {reason}");
            self.warn(
                Diagnostic::warning(message)
                    .help("posthole-fetchmail(1) has a table of all options"),
            );
        }
    }

    fn of_server(&self) -> Vec<Unobeyed> {
        let entry = self.entry;
        vec![
            entry
                .sdps
                .then_some(("proto sdps", "the server is asked as any POP3 server")),
            match entry.retrieve_error {
                None | Some(RetrieveError::Continue) => None,
                Some(RetrieveError::Abort) => Some((
                    "retrieve-error abort",
                    "one message that fails would hold up all others; it is tried again later",
                )),
                Some(RetrieveError::MarkSeen) => Some((
                    "retrieve-error markseen",
                    "what was not fetched does not count as seen; it is tried again later",
                )),
            },
        ]
    }

    fn of_user(&self) -> Vec<Unobeyed> {
        let user = self.user;
        vec![
            user.forcecr.then_some(("forcecr", OWN_LINE_ENDS)),
            user.pass8bits.then_some((
                "pass8bits",
                "8BITMIME is declared where the server has it and a message needs it",
            )),
            user.idle.then_some(("idle", "it is IMAP's")),
            (!user.folders.is_empty()).then_some(("folder", "POP3 has no folders")),
            user.passwordfd.is_some().then_some((
                "passwordfd",
                "a descriptor can be read only once; use passwordfile or passwordeval",
            )),
            user.pwmd_file
                .is_some()
                .then_some(("pwmd_file", "use passwordeval with pwmc")),
        ]
    }
}

/// The option, and why.
type Unobeyed = Option<(&'static str, &'static str)>;

const OWN_LINE_ENDS: &str = "each destination gets the line ends that belong there";
