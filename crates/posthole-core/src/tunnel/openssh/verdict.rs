//! Why `ssh` failed, by what it printed: our own errors where there are such, for the same exit code
//! and the same advice.
//!
//! It prints several lines for one failure, those of the hosts on the way among them, so the most
//! telling one is looked for first and its order does not matter. A text that nobody knows is passed
//! on as a failure of the network, which is tried again.
//!
//! A server's banner is printed among them. What it may not claim, that a host key has changed or
//! that something is wrong on this machine, is believed only where no banner can have come yet.

use std::path::PathBuf;
use std::sync::Arc;

use crate::plan::{Hop, HostPort};

use super::super::answers::Answers;
use super::super::error::{
    Attempt, AuthenticationFailed, HostKeyChanged, Refusal, TunnelError, TunnelErrorKind,
};
use super::super::host_key::Gatekeeper;
use super::super::known_hosts::Names;
use super::super::patience::Patience;
use super::super::process::Outcome;
use super::super::split;
use super::words::Heard;

/// All that is known about a failure.
pub(super) struct Failure<'a> {
    pub(super) hops: &'a [Hop],
    pub(super) to: &'a HostPort,
    pub(super) heard: &'a Heard,
    pub(super) outcome: &'a Outcome,
    /// Whether there was somebody to ask.
    pub(super) is_anybody_there: bool,
}

impl Failure<'_> {
    pub(super) fn verdict(&self, answers: &Arc<Answers>) -> TunnelError {
        let (hop, _) = split(self.hops);
        let code = self.outcome.status.and_then(|status| status.code());
        if let Some(126 | 127) = code {
            return self.other(
                TunnelErrorKind::Local,
                self.said(),
                Some("install OpenSSH's client, or take `backend = \"openssh\"` out".to_owned()),
            );
        }
        if !self.heard.may_have_banner()
            && let Some(error) = self.host_key_refused(answers)
        {
            return error;
        }
        if let Some(line) = self.line(": Permission denied (") {
            return self.permission_denied(line);
        }
        if let Some(line) = self.line("Too many authentication failures") {
            return self.not_let_in(hop, Vec::new(), Some(line));
        }
        if let Some(line) = self.line(": open failed: ") {
            return self.channel_refused(line);
        }
        if self.line("stdio forwarding").is_some() {
            if let Some(error) = self.refused_on_the_way() {
                return error;
            }
            let hint = "AllowTcpForwarding and PermitOpen in the server's sshd_config(5) decide \
                        where a login may forward to";
            return self.other(TunnelErrorKind::Refused, self.said(), Some(hint.to_owned()));
        }
        for (telling, kind, hint) in TELLING {
            if *kind == TunnelErrorKind::Local && self.heard.may_have_banner() {
                continue;
            }
            if let Some(line) = self.line(telling) {
                let hint = hint.map(str::to_owned);
                return self.other(*kind, line.to_owned(), hint);
            }
        }
        self.other(TunnelErrorKind::Network, self.said(), None)
    }

    /// The first line with these words in it.
    fn line(&self, words: &str) -> Option<&str> {
        let mut lines = self.outcome.complaints.iter();
        lines.find(|line| line.contains(words)).map(String::as_str)
    }

    /// The line after one with these words in it.
    fn line_after(&self, words: &str) -> Option<&str> {
        let mut lines = self.outcome.complaints.iter();
        lines.find(|line| line.contains(words))?;
        lines.next().map(String::as_str)
    }

    fn said(&self) -> String {
        self.outcome.text()
    }

    fn other(&self, kind: TunnelErrorKind, reason: String, hint: Option<String>) -> TunnelError {
        let (hop, _) = split(self.hops);
        TunnelError::OpenSsh {
            host: hop.name.clone(),
            kind,
            reason,
            hint,
        }
    }

    fn host_key_refused(&self, answers: &Arc<Answers>) -> Option<TunnelError> {
        if self
            .line("REMOTE HOST IDENTIFICATION HAS CHANGED")
            .is_some()
        {
            return Some(self.host_key_changed());
        }
        if self.line("REVOKED HOST KEY DETECTED").is_some() {
            let reason = self.line(" is marked as revoked.");
            let hint = "somebody may be listening in; ask the administrator of the host";
            let reason = reason.map_or_else(|| self.said(), str::to_owned);
            return Some(self.other(TunnelErrorKind::HostKey, reason, Some(hint.to_owned())));
        }
        self.line("Host key verification failed.")
            .map(|_| self.host_key_unknown(answers))
    }

    /// `ssh` on the way says no more than that it was refused, lest it say what a banner says.
    fn refused_on_the_way(&self) -> Option<TunnelError> {
        let (hop, before) = split(self.hops);
        if before.is_empty() || self.heard.may_have_banner() {
            return None;
        }
        let names: Vec<_> = before.iter().map(|hop| hop.name.as_str()).collect();
        let reason = format!(
            "{} did not open a channel towards {} ({})",
            names.join(" or "),
            hop.name,
            hop.address
        );
        let hint = "nothing may listen there, the name may mean nothing to the host before it, or \
                    its sshd_config(5) may not allow it (AllowTcpForwarding, PermitOpen)";
        Some(self.other(TunnelErrorKind::Refused, reason, Some(hint.to_owned())))
    }

    fn host_key_changed(&self) -> TunnelError {
        let (hop, _) = split(self.hops);
        // Host key for [127.0.0.1]:20222 has changed and you have requested strict checking.
        let host = self
            .line("has changed and you have requested")
            .and_then(|line| {
                let (_, rest) = line.split_once("ost key for ")?;
                Some(rest.split(' ').next()?.to_owned())
            });
        // The fingerprint for the ED25519 key sent by the remote host is
        let announced = "The fingerprint for the ";
        let algorithm = self.line(announced).and_then(|line| {
            let (_, rest) = line.split_once(announced)?;
            Some(rest.split(' ').next()?.to_owned())
        });
        let fingerprint = self
            .line_after(announced)
            .map(|line| line.trim_end_matches('.').to_owned());
        // Offending ED25519 key in /home/x/.ssh/known_hosts:3
        let offending = self.line("Offending ").and_then(|line| {
            let (what, place) = line.split_once(" in ")?;
            let (file, line) = place.rsplit_once(':')?;
            let what = what.strip_prefix("Offending ")?;
            Some((what.to_owned(), PathBuf::from(file), line.parse().ok()?))
        });
        match (algorithm, fingerprint, offending) {
            (Some(algorithm), Some(fingerprint), Some((recorded, file, line))) => {
                TunnelError::HostKeyChanged(Box::new(HostKeyChanged {
                    host: host.unwrap_or_else(|| Names::of(hop).entry().to_owned()),
                    algorithm,
                    fingerprint,
                    recorded: format!("another {recorded}"),
                    file,
                    line,
                    flaw: None,
                }))
            }
            _ => self.other(
                TunnelErrorKind::HostKey,
                "the host key has changed".to_owned(),
                Some("somebody may be listening in; ask the administrator of the host".to_owned()),
            ),
        }
    }

    fn host_key_unknown(&self, answers: &Arc<Answers>) -> TunnelError {
        // No ED25519 host key is known for gate and you have requested strict checking.
        let named = self.line(" host key is known for ").and_then(|line| {
            let (_, rest) = line.split_once(" is known for ")?;
            rest.split(' ').next()
        });
        let is_named = |hop: &Hop| match named {
            Some(name) => Names::of(hop).entry().eq_ignore_ascii_case(name),
            None => false,
        };
        let last = self.hops.len() - 1;
        let index = self.hops.iter().position(is_named).unwrap_or(last);
        let (hop, before) = (&self.hops[index], &self.hops[..index]);
        let trust = Gatekeeper::new(hop, before, Arc::clone(answers), Arc::new(Patience::new()))
            .trust_command();
        match self.heard.host_key() {
            Some((algorithm, fingerprint)) if index == last => TunnelError::HostKeyUnknown {
                host: Names::of(hop).entry().to_owned(),
                algorithm: algorithm.to_owned(),
                fingerprint: fingerprint.to_owned(),
                flaw: None,
                trust,
            },
            _ => TunnelError::OpenSsh {
                host: hop.name.clone(),
                kind: TunnelErrorKind::HostKey,
                reason: format!("the host key of {} is not known", Names::of(hop).entry()),
                hint: Some(format!("compare its fingerprint, then run: {trust}")),
            },
        }
    }

    /// `msingh@gate: Permission denied (publickey,password).`
    fn permission_denied(&self, line: &str) -> TunnelError {
        let (hop, _) = split(self.hops);
        let (login, methods) = line
            .split_once(": Permission denied (")
            .unwrap_or((line, ""));
        let methods = methods.trim_end_matches(['.', ')']);
        let is_named = |hop: &&Hop| {
            login == hop.login() || login == format!("{}@{}", hop.user, hop.address.host)
        };
        let refusing = self.hops.iter().find(is_named).unwrap_or(hop);
        let offered = methods.split(',').map(str::to_owned).collect();
        self.not_let_in(refusing, offered, None)
    }

    fn not_let_in(&self, refusing: &Hop, offered: Vec<String>, said: Option<&str>) -> TunnelError {
        let (hop, _) = split(self.hops);
        let mut tried = Vec::new();
        if std::ptr::eq(refusing, hop) {
            tried = self.heard.attempts();
        }
        if tried.is_empty() {
            tried.push(Attempt::refused("ssh", "permission denied"));
        }
        let asks = |method: &String| method == "password" || method == "keyboard-interactive";
        let had_questions = offered.iter().any(asks) || self.heard.is_key_locked();
        TunnelError::AuthenticationFailed(Box::new(AuthenticationFailed {
            login: refusing.login(),
            tried,
            no_terminal: !self.is_anybody_there && had_questions,
            offered,
            allowed: refusing.methods.clone(),
            said: said.map(str::to_owned),
        }))
    }

    /// `channel 0: open failed: connect failed: Connection refused`
    fn channel_refused(&self, line: &str) -> TunnelError {
        let (hop, _) = split(self.hops);
        let reason = line
            .split_once(": open failed: ")
            .map_or(line, |(_, reason)| reason);
        let (code, text) = reason.split_once(": ").unwrap_or((reason, ""));
        let refusal = match code {
            "administratively prohibited" => Refusal::AdministrativelyProhibited,
            "connect failed" => Refusal::ConnectFailed,
            "unknown channel type" => Refusal::UnknownChannelType,
            "resource shortage" => Refusal::ResourceShortage,
            _ => Refusal::Other(0),
        };
        let text = (!text.is_empty()).then(|| text.to_owned());
        TunnelError::ChannelRefused {
            host: hop.name.clone(),
            to: self.to.clone(),
            next: None,
            refusal,
            text,
        }
    }
}

/// Words that tell who must act, the most telling first.
const TELLING: &[(&str, TunnelErrorKind, Option<&str>)] = &[
    (
        "Bad configuration option",
        TunnelErrorKind::Local,
        Some(CONFIGURATION),
    ),
    (
        "Bad owner or permissions on",
        TunnelErrorKind::Local,
        Some("others can write to the file: chmod 600"),
    ),
    ("command-line", TunnelErrorKind::Local, Some(CONFIGURATION)),
    (": line ", TunnelErrorKind::Local, Some(CONFIGURATION)),
    (
        "Could not resolve hostname",
        TunnelErrorKind::Network,
        Some("check the spelling of the host and that the network is up"),
    ),
    (
        ": Connection refused",
        TunnelErrorKind::Network,
        Some("the host answers, but nothing listens on the port there"),
    ),
    (
        "timed out",
        TunnelErrorKind::Network,
        Some("check that the network is up, the host is right and no firewall drops the port"),
    ),
    ("connect to host ", TunnelErrorKind::Network, None),
    (
        "Unable to negotiate with",
        TunnelErrorKind::Protocol,
        Some("the server is too old, or the configuration allows too little"),
    ),
    (
        "Invalid SSH identification string",
        TunnelErrorKind::Protocol,
        Some("check that the port is that of an SSH server"),
    ),
];

const CONFIGURATION: &str =
    "correct the configuration of ssh; `ssh -G HOST` shows what it makes of it";

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use crate::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
    use crate::tunnel::openssh::words::{Word, is_complaint};

    use super::*;

    struct Nobody;

    impl Ask for Nobody {
        fn secret(&self, _: &SecretQuestion) -> Result<secrecy::SecretString, Unanswered> {
            Err(Unanswered::NoTerminal)
        }

        fn trust_host_key(&self, _: &HostKeyQuestion) -> Result<bool, Unanswered> {
            Err(Unanswered::NoTerminal)
        }
    }

    /// What becomes of an end of `ssh` on the way through a gate to popserver.
    fn verdict(code: i32, said: &str) -> TunnelError {
        let mut gate = Hop::new("gate", "msingh");
        gate.address.host = "192.0.2.1".to_owned();
        let mut hop = Hop::new("popserver", "msingh");
        hop.address.host = "127.0.0.1".to_owned();
        hop.address.port = 20222;
        let hops = [gate, hop];
        let mut heard = Heard::default();
        for word in said.lines().filter_map(Word::of) {
            heard.take(word, &hops[1]);
        }
        let outcome = Outcome {
            status: Some(ExitStatus::from_raw(code << 8)),
            complaints: said
                .lines()
                .filter(|line| is_complaint(line))
                .map(str::to_owned)
                .collect(),
        };
        let failure = Failure {
            hops: &hops,
            to: &HostPort {
                host: "localhost".to_owned(),
                port: 110,
            },
            heard: &heard,
            outcome: &outcome,
            is_anybody_there: false,
        };
        failure.verdict(&Arc::new(Answers::new(Arc::new(Nobody))))
    }

    #[test]
    fn what_openssh_9_says_becomes_an_error_of_the_right_kind() {
        use TunnelErrorKind::*;
        for (said, kind, text) in [
            (
                "ssh: Could not resolve hostname gate: Name or service not known",
                Network,
                "ssh did not get through to popserver: ssh: Could not resolve hostname gate: Name or \
                 service not known",
            ),
            (
                "ssh: connect to host 192.0.2.1 port 22: Connection refused\n\
                 kex_exchange_identification: Connection closed by remote host\n\
                 Connection closed by UNKNOWN port 65535",
                Network,
                "ssh did not get through to popserver: ssh: connect to host 192.0.2.1 port 22: \
                 Connection refused",
            ),
            (
                "Connection timed out during banner exchange",
                Network,
                "ssh did not get through to popserver: Connection timed out during banner exchange",
            ),
            (
                "debug1: Offering public key: /k RSA SHA256:x agent\n\
                 msingh@127.0.0.1: Permission denied (publickey,password).",
                Authentication,
                "msingh@popserver did not let us in: publickey RSA SHA256:x from /k in the agent: \
                 not accepted; the server takes publickey, password",
            ),
            (
                "msingh@192.0.2.1: Permission denied (publickey).\n\
                 kex_exchange_identification: Connection closed by remote host",
                Authentication,
                "msingh@gate did not let us in: ssh: permission denied; the server takes publickey",
            ),
            (
                "Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures",
                Authentication,
                "msingh@popserver did not let us in: ssh: permission denied; it says: Received \
                 disconnect from 127.0.0.1 port 22:2: Too many authentication failures",
            ),
            (
                "Authenticated to 127.0.0.1 ([127.0.0.1]:20222) using \"publickey\".\n\
                 channel 0: open failed: administratively prohibited: open failed\n\
                 stdio forwarding failed",
                Refused,
                "popserver could not open a channel to localhost:110: administratively prohibited",
            ),
            (
                "stdio forwarding failed\n\
                 kex_exchange_identification: Connection closed by remote host",
                Refused,
                "ssh did not get through to popserver: gate did not open a channel towards \
                 popserver (127.0.0.1:20222)",
            ),
            (
                "Unable to negotiate with 127.0.0.1 port 20222: no matching cipher found. Their \
                 offer: aes128-ctr",
                Protocol,
                "ssh did not get through to popserver: Unable to negotiate with 127.0.0.1 port \
                 20222: no matching cipher found. Their offer: aes128-ctr",
            ),
            (
                "command-line line 0: Bad SSH2 cipher spec 'nonsense'.",
                Local,
                "ssh did not get through to popserver: command-line line 0: Bad SSH2 cipher spec \
                 'nonsense'.",
            ),
            (
                "Something new",
                Network,
                "ssh did not get through to popserver: exit status 255: Something new",
            ),
            (
                "",
                Network,
                "ssh did not get through to popserver: exit status 255",
            ),
        ] {
            let error = verdict(255, said);
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        }
        let missing = verdict(127, "sh: 4: exec: ssh: not found");
        assert_eq!(missing.kind(), Local);
        assert!(missing.hint().unwrap().starts_with("install OpenSSH"));
    }

    #[test]
    fn an_unknown_host_key_comes_with_the_command_that_records_it() {
        let error = verdict(
            255,
            "debug1: Server host key: ssh-ed25519 SHA256:mB6R\n\
             No ED25519 host key is known for [127.0.0.1]:20222 and you have requested strict \
             checking.\n\
             Host key verification failed.",
        );
        assert_eq!(error.kind(), TunnelErrorKind::HostKey);
        assert_eq!(
            error.to_string(),
            "the host key of [127.0.0.1]:20222 is not known: ssh-ed25519 SHA256:mB6R"
        );
        let hint = error.hint().unwrap();
        assert!(
            hint.ends_with("posthole trust --via msingh@gate popserver:20222"),
            "{hint}"
        );

        let error = verdict(
            255,
            "No ED25519 host key is known for 192.0.2.1 and you have requested strict checking.\n\
             Host key verification failed.\n\
             kex_exchange_identification: Connection closed by remote host",
        );
        assert_eq!(error.kind(), TunnelErrorKind::HostKey);
        let hint = error.hint().unwrap();
        assert!(hint.ends_with("posthole trust gate"), "{hint}");
    }

    #[test]
    fn a_changed_host_key_is_the_same_error_as_ours() {
        let error = verdict(
            255,
            "debug1: Server host key: ssh-ed25519 SHA256:mB6R\n\
             @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
             @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
             IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n\
             The fingerprint for the ED25519 key sent by the remote host is\n\
             SHA256:mB6R.\n\
             Add correct host key in /h/known hosts to get rid of this message.\n\
             Offending ED25519 key in /h/known hosts:3\n\
             Host key for [127.0.0.1]:20222 has changed and you have requested strict checking.\n\
             Host key verification failed.",
        );
        assert_eq!(
            error.to_string(),
            "the host key of [127.0.0.1]:20222 has changed: it is ED25519 SHA256:mB6R now, but \
             /h/known hosts:3 records another ED25519 key"
        );
        assert!(matches!(error, TunnelError::HostKeyChanged(_)));

        // Not in a banner.
        let error = verdict(
            255,
            "debug1: Server host key: ssh-ed25519 SHA256:mB6R\n\
             debug1: SSH2_MSG_NEWKEYS received\n\
             @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
             The fingerprint for the ED25519 key sent by the remote host is\n\
             SHA256:mB6R.\n\
             Offending ED25519 key in /h/known_hosts:3\n\
             msingh@127.0.0.1: Permission denied (publickey).",
        );
        assert_eq!(error.kind(), TunnelErrorKind::Authentication, "{error}");

        let error = verdict(
            255,
            "@       WARNING: REVOKED HOST KEY DETECTED!               @\n\
             The ED25519 host key for [127.0.0.1]:20222 is marked as revoked.\n\
             Host key verification failed.",
        );
        assert_eq!(error.kind(), TunnelErrorKind::HostKey);
        assert!(error.to_string().contains("marked as revoked"), "{error}");
    }
}
