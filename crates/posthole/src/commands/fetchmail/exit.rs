//! fetchmail's exit codes (fetchmail(1), EXIT CODES), and what becomes which.

use std::process::ExitCode;

use posthole_core::deliver::DeliverError;
use posthole_core::error::{Class, Error};
use posthole_core::plan::TunnelFor;
use posthole_core::retrieve::Report;
use posthole_core::session::{RespCode, SessionError};

use crate::exit::Exit;

/// How a poll, or a whole run, ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Code {
    Success,
    NoMail,
    Socket,
    AuthFail,
    Protocol,
    /// Also for a `preconnect` or `postconnect` that failed.
    Syntax,
    IoErr,
    Error,
    Exclude,
    LockBusy,
    Smtp,
    Bsmtp,
    MaxFetch,
    ServBusy,
    Undefined,
}

impl Code {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NoMail => 1,
            Self::Socket => 2,
            Self::AuthFail => 3,
            Self::Protocol => 4,
            Self::Syntax => 5,
            Self::IoErr => 6,
            Self::Error => 7,
            Self::Exclude => 8,
            Self::LockBusy => 9,
            Self::Smtp => 10,
            Self::Bsmtp => 12,
            Self::MaxFetch => 13,
            Self::ServBusy => 14,
            Self::Undefined => 23,
        }
    }

    /// That of a run over several users: success if any got mail, or else the last one's.
    pub(super) fn of_run(codes: impl IntoIterator<Item = Self>) -> Self {
        let mut last = None;
        for code in codes {
            if code == Self::Success {
                return code;
            }
            last = Some(code);
        }
        last.unwrap_or(Self::NoMail)
    }

    /// That of a poll; `limit` is how many messages it was to fetch at most.
    pub(super) fn of_poll(report: &Report, limit: Option<u32>, tunnel: Option<TunnelFor>) -> Self {
        let summary = &report.summary;
        match &report.error {
            Some(error) => Self::of_error(error, tunnel),
            None if limit.is_some_and(|limit| summary.fetched >= limit.into()) => Self::MaxFetch,
            None if summary.fetched > 0 => Self::Success,
            None if !summary.failed.is_empty() => Self::Error,
            None => Self::NoMail,
        }
    }

    pub(super) fn of_error(error: &Error, tunnel: Option<TunnelFor>) -> Self {
        use posthole_core::transport::TransportError;
        match error {
            Error::Deliver(DeliverError::Smtp(_) | DeliverError::Mda(_)) => Self::Smtp,
            Error::Deliver(_) => Self::Bsmtp,
            Error::Locked { .. } => Self::Exclude,
            Error::Secret(_) => Self::AuthFail,
            Error::Session(error) => Self::of_session(error),
            // What our tunnel stands for would have failed like that.
            Error::Transport(TransportError::Tunnel(_))
                if tunnel == Some(TunnelFor::Preconnect) =>
            {
                Self::Syntax
            }
            Error::Transport(_) => Self::Socket,
            Error::Stopped => Self::Error,
            _ => Self::Undefined,
        }
    }

    fn of_session(error: &SessionError) -> Self {
        match error {
            SessionError::LoginRefused { code, .. } | SessionError::Rejected { code, .. }
                if matches!(code, Some(RespCode::InUse | RespCode::LoginDelay)) =>
            {
                Self::LockBusy
            }
            SessionError::LoginRefused { code, .. } | SessionError::Rejected { code, .. }
                if matches!(code, Some(RespCode::SysTemp)) =>
            {
                Self::ServBusy
            }
            SessionError::LoginRefused { .. }
            | SessionError::NoMethod(_)
            | SessionError::NotStarted { .. }
            | SessionError::Sasl { .. } => Self::AuthFail,
            SessionError::Tls(_) => Self::Socket,
            SessionError::Protocol(_) => Self::Protocol,
            _ => Self::Error,
        }
    }
}

impl From<Exit> for Code {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::Success,
            Exit::Config | Exit::Usage => Self::Syntax,
            Exit::NoHost | Exit::Unavailable => Self::Socket,
            Exit::NoPerm => Self::AuthFail,
            Exit::Protocol => Self::Protocol,
            Exit::TempFail => Self::Error,
            Exit::IoErr | Exit::Software => Self::Undefined,
        }
    }
}

impl From<Class> for Code {
    fn from(class: Class) -> Self {
        Exit::from(class).into()
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        code.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_mail_is_success_and_otherwise_the_last_server_counts() {
        use Code::*;
        for (codes, whole) in [
            (&[][..], NoMail),
            (&[NoMail, NoMail], NoMail),
            (&[Success, Socket], Success),
            (&[Socket, Success, NoMail], Success),
            (&[Socket, NoMail], NoMail),
            (&[NoMail, AuthFail], AuthFail),
        ] {
            assert_eq!(Code::of_run(codes.iter().copied()), whole, "{codes:?}");
        }
    }
}
