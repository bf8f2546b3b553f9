//! What becomes of mail that a server refuses for good, where the owner has said something about
//! it: fetchmail's `bouncemail`, `spambounce`, `softbounce` and `postmaster`.
//!
//! A message is done with, and may be deleted from the mail server, once somebody has taken it or a
//! report of it. A report has the null path for its sender, and is not made of what has no sender
//! itself, so that reports never go round in circles.

use std::fs::File;
use std::io::{Seek, Write};

use posthole_proto::smtp::CommandKind;

use super::report::{Failure, Original, Report};
use super::session::Verdict;
use super::{Letter, Smtp, hello};
use crate::deliver::DeliverError;
use crate::deliver::dispatch::{Refusal, Round};
use crate::durable::At;
use crate::error::Error;
use crate::plan::{HostPort, ReportTo, SmtpProtocol, SmtpServer, SmtpTo, Undeliverable};

/// A recipient for whom a message was refused for good, or as spam.
pub(super) struct Dead {
    pub(super) unit: usize,
    pub(super) recipient: String,
    pub(super) at: CommandKind,
    pub(super) code: Option<u16>,
    /// In which words.
    pub(super) said: String,
    /// What was refused, and in which words.
    pub(super) reason: String,
    /// Whether the code is one of `antispam`.
    pub(super) is_spam: bool,
}

/// What came of telling somebody.
enum Told {
    /// A server has taken the report.
    Taken,
    /// It has not.
    NotTaken(String),
    /// There is nobody to tell, or nothing.
    Nobody,
}

impl Smtp {
    /// Does what is to be done about a message that some recipients do not get. `is_all` is whether
    /// there are no others.
    pub(super) fn dispose(
        &mut self,
        round: &mut Round<'_>,
        idx: usize,
        sender: &str,
        dead: Vec<Dead>,
        is_all: bool,
    ) -> Result<(), Error> {
        let Some(rules) = self.to.undeliverable.clone() else {
            for one in &dead {
                round.notice(dropped_as_spam(sender, one));
            }
            return got(round, idx, dead);
        };
        let nobody_wants_it = is_all && dead.iter().all(|one| one.at == CommandKind::Rcpt);
        let is_passed_on = nobody_wants_it && self.pass_on(round, idx, sender, &dead, &rules)?;
        let told = self.tell(round, idx, sender, &dead, &rules)?;
        let (mut done, mut problem) = (Vec::new(), "");
        if let Told::NotTaken(why) = &told {
            problem = why;
            round.notice(format!(
                "a report of a message from <{sender}> was not taken: {why}"
            ));
        }
        for one in dead {
            let is_told = !is_reported(&one, &rules) || !matches!(told, Told::NotTaken(_));
            let may_go = !rules.stays || one.is_spam && !nobody_wants_it;
            if is_passed_on || may_go && is_told {
                let is_said = is_reported(&one, &rules) && matches!(told, Told::Taken);
                if !is_passed_on && !is_said {
                    round.notice(match one.is_spam {
                        true => dropped_as_spam(sender, &one),
                        false => format!(
                            "a message from <{sender}> for {} is given up: {}",
                            one.recipient, one.reason
                        ),
                    });
                }
                done.push(one);
                continue;
            }
            let mut reason = format!("{} for {}: {}", self.to, one.recipient, one.reason);
            if !is_told {
                reason = format!("{reason}; and the report of it was not taken: {problem}");
            }
            // A report may be taken soon.
            let for_good = is_told;
            round.refused(idx, Refusal { for_good, reason });
        }
        got(round, idx, done)
    }

    /// Gives the postmaster a message that nobody of those it is for can get.
    fn pass_on(
        &mut self,
        round: &mut Round<'_>,
        idx: usize,
        sender: &str,
        dead: &[Dead],
        rules: &Undeliverable,
    ) -> Result<bool, Error> {
        let Some(postmaster) = &rules.postmaster else {
            return Ok(false);
        };
        if dead.iter().any(|one| one.recipient == *postmaster) {
            return Ok(false);
        }
        let to = std::slice::from_ref(postmaster);
        let verdicts = self.give_message(round, idx, sender, to)?;
        let first = &dead[0];
        Ok(match verdicts.into_iter().next() {
            Some(Verdict::Accepted) => {
                round.notice(format!(
                    "a message from <{sender}> goes to {postmaster}, since {} does not get it: {}",
                    first.recipient, first.reason
                ));
                true
            }
            Some(Verdict::Refused { reason, .. }) => {
                round.notice(format!(
                    "{postmaster} does not get it either, a message from <{sender}>: {reason}"
                ));
                false
            }
            None => false,
        })
    }

    /// Reports a message to whom the rules say.
    fn tell(
        &mut self,
        round: &mut Round<'_>,
        idx: usize,
        sender: &str,
        dead: &[Dead],
        rules: &Undeliverable,
    ) -> Result<Told, Error> {
        let dead: Vec<_> = dead.iter().filter(|one| is_reported(one, rules)).collect();
        let to = match rules.report_to {
            // There is no answer to a report, nor to what says that it wants none.
            ReportTo::Sender if !is_automatic(sender) => Some(sender.to_owned()),
            _ => rules.postmaster.clone(),
        };
        let (Some(first), Some(to)) = (dead.first(), to) else {
            return Ok(Told::Nobody);
        };
        let is_sender = to == sender;
        let report = Report {
            from: hello(),
            to: &to,
            sender,
            original: match first.at {
                // It was not looked at, and is to be seen by somebody before it goes.
                CommandKind::Mail if !is_sender => Original::Whole,
                _ => Original::Header,
            },
            failures: dead
                .iter()
                .map(|one| Failure {
                    recipient: &one.recipient,
                    said: &one.said,
                    is_the_servers: one.code.is_some(),
                })
                .collect(),
        };
        let path = round.staging().path();
        let mut file = tempfile::tempfile_in(path)
            .at("create a file in", path)
            .map_err(DeliverError::from)?;
        report
            .write(round.text(idx)?, &mut file)
            .and_then(|()| file.flush())
            .at("write to a file in", path)
            .map_err(DeliverError::from)?;
        let open = || -> Result<File, DeliverError> {
            let mut again = file.try_clone().at("read", path)?;
            again.rewind().at("read", path)?;
            Ok(again)
        };
        let letter = Letter {
            sender: "",
            recipients: &[&to],
            name: path,
            open: &open,
        };
        let stop = round.stop().clone();
        let verdicts = match self.to.protocol {
            SmtpProtocol::Smtp => self.give(&letter, &stop)?,
            SmtpProtocol::Lmtp => self.reporter().give(&letter, &stop)?,
        };
        Ok(match verdicts.into_iter().next() {
            Some(Verdict::Accepted) => {
                round.notice(format!(
                    "a message from <{sender}> was refused, which {to} is told: {}",
                    first.reason
                ));
                Told::Taken
            }
            Some(Verdict::Refused { reason, .. }) => Told::NotTaken(reason),
            None => Told::Nobody,
        })
    }

    /// A server of LMTP takes mail for users of its own only, which senders are not.
    fn reporter(&mut self) -> &mut Self {
        let means = &self.means;
        self.reporter.get_or_insert_with(|| {
            let server = SmtpServer::Tcp(HostPort {
                host: "localhost".to_owned(),
                port: 25,
            });
            Box::new(Self::new(
                &SmtpTo::new(server, SmtpProtocol::Smtp, &[]),
                means,
            ))
        })
    }
}

/// Records that there is nothing more to do about these.
fn got(round: &mut Round<'_>, idx: usize, dead: Vec<Dead>) -> Result<(), Error> {
    let units: Vec<_> = dead.into_iter().map(|one| (idx, one.unit)).collect();
    round.got(&units)
}

fn dropped_as_spam(sender: &str, one: &Dead) -> String {
    format!(
        "a message from <{sender}> is dropped as spam: {}",
        one.reason
    )
}

/// Whether somebody is told of it.
fn is_reported(one: &Dead, rules: &Undeliverable) -> bool {
    if one.is_spam {
        return rules.reports_spam;
    }
    !rules.stays && one.code != Some(INVALID_SENDER)
}

/// Whether a sender is no person, who could do something about it.
fn is_automatic(sender: &str) -> bool {
    let name = sender.split('@').next().unwrap_or_default();
    name.is_empty() || name.eq_ignore_ascii_case("MAILER-DAEMON")
}

/// The sender's address is one that cannot be (RFC 5321 §4.2.3 as servers use it).
const INVALID_SENDER: u16 = 553;
