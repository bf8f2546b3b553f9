//! Exit codes: the numbers of sysexits(3), and the one place that chooses among them.
//!
//! A run over many accounts has many outcomes but one exit code, so the outcomes are ordered by
//! how much help they need: what heals by itself is mild, what is our own fault is worst. No mail
//! is success.

use std::process::ExitCode;

use posthole_core::error::Class;

/// How a run, or one account of it, ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// All went well, whether there was mail or not.
    Success,
    /// Nobody needs to act: a later attempt may succeed.
    TempFail,
    /// The service or host is not there.
    Unavailable,
    /// The other side broke the protocol, or its certificate cannot be trusted.
    Protocol,
    /// A login was refused, or a password was not to be had.
    NoPerm,
    /// An SSH host is unknown or not who it was. sysexits(3) says "host name unknown", and no
    /// other outcome here uses it: a script can tell a host key from everything else.
    NoHost,
    /// This machine could not do it: a full disk, a missing permission.
    IoErr,
    /// The configuration must be changed.
    Config,
    /// The command line is wrong.
    Usage,
    /// A bug in this program.
    Software,
}

impl Exit {
    /// The number, from sysexits(3).
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 64,
            Self::NoHost => 68,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::IoErr => 74,
            Self::TempFail => 75,
            Self::Protocol => 76,
            Self::NoPerm => 77,
            Self::Config => 78,
        }
    }

    /// The outcome that has this number; another program's is a temporary failure.
    pub(crate) fn from_code(code: u8) -> Self {
        let all = [
            Self::Success,
            Self::TempFail,
            Self::Unavailable,
            Self::Protocol,
            Self::NoPerm,
            Self::NoHost,
            Self::IoErr,
            Self::Config,
            Self::Usage,
            Self::Software,
        ];
        let found = all.into_iter().find(|exit| exit.code() == code);
        found.unwrap_or(Self::TempFail)
    }

    /// The worse of two outcomes: the variants stand in order, mildest first.
    #[must_use]
    pub(crate) fn worse(self, other: Self) -> Self {
        if other as u8 > self as u8 {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Self {
        match class {
            Class::Authentication => Self::NoPerm,
            // The other side is not, or does not prove to be, who it should be.
            Class::Certificate => Self::Protocol,
            Class::Config => Self::Config,
            Class::HostKey => Self::NoHost,
            Class::Local => Self::IoErr,
            Class::Protocol => Self::Protocol,
            Class::Temporary => Self::TempFail,
            Class::Unavailable => Self::Unavailable,
            // `Class` may grow; what is not known here asks for nobody in particular.
            _ => Self::TempFail,
        }
    }
}

/// The worst of many outcomes; success when there are none.
pub(crate) fn worst_of(exits: impl IntoIterator<Item = Exit>) -> Exit {
    exits.into_iter().fold(Exit::Success, Exit::worse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_account_at_all_is_success() {
        assert_eq!(worst_of([]), Exit::Success);
    }

    #[test]
    fn the_worst_account_wins_wherever_it_stands() {
        use Exit::*;
        let table = [
            (vec![Success, Success], Success),
            (vec![Success, TempFail, Success], TempFail),
            (vec![NoPerm, TempFail], NoPerm),
            (vec![TempFail, NoPerm], NoPerm),
            (vec![Unavailable, Protocol, TempFail], Protocol),
            (vec![NoHost, NoPerm, Unavailable], NoHost),
            (vec![IoErr, NoHost], IoErr),
            (vec![Config, IoErr, Success], Config),
            (vec![Software, Config, Usage], Software),
        ];
        for (exits, worst) in table {
            assert_eq!(worst_of(exits.clone()), worst, "{exits:?}");
        }
    }

    #[test]
    fn every_code_is_a_number_of_sysexits() {
        let codes = [
            (Class::Authentication, 77),
            (Class::Certificate, 76),
            (Class::Config, 78),
            (Class::HostKey, 68),
            (Class::Local, 74),
            (Class::Protocol, 76),
            (Class::Temporary, 75),
            (Class::Unavailable, 69),
        ];
        for (class, code) in codes {
            assert_eq!(Exit::from(class).code(), code, "{class:?}");
        }
    }
}
