//! A session with a server that takes mail: greeting, introduction, and one message after another.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use posthole_proto::smtp::{Command, CommandKind, Extensions, MailParameters, Protocol, Reply};

use super::SmtpError;
use super::link::Link;
use crate::transport::tls::{self, Secured};

/// A session that is ready for messages.
pub(super) struct Session {
    pub(super) link: Link,
    protocol: Protocol,
    pub(super) extensions: Extensions,
    /// Whether the last message has left something to be reset.
    unclean: bool,
    /// Whether the server is gone, so that no other message can be given to it.
    pub(super) is_over: bool,
    /// Messages that went through.
    pub(super) messages: u32,
    pub(super) timeout: Duration,
}

/// What a server is to take.
pub(super) struct Parcel<'a> {
    /// The reverse-path; empty is the null path.
    pub(super) sender: &'a str,
    /// The forward-paths.
    pub(super) recipients: &'a [&'a str],
    /// The text, with lines that end in LF.
    pub(super) text: File,
    pub(super) survey: Survey,
}

/// What must be known of a text beforehand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Survey {
    /// Octets with CR LF line ends, without doubled dots (RFC 1870 §6).
    pub(super) size: u64,
    /// Whether there are octets beyond ASCII.
    pub(super) eight_bit: bool,
}

/// What a server says of a message for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Accepted,
    Refused {
        code: Option<u16>,
        /// What was refused, and in which words.
        reason: String,
        /// The words alone, with the code; empty if they are not the server's.
        said: String,
        for_good: bool,
        /// Whether it was the sender or the message as such.
        at: CommandKind,
    },
}

impl Session {
    /// Hears the greeting and introduces us.
    pub(super) async fn open(
        mut link: Link,
        protocol: Protocol,
        hello: &str,
        timeout: Duration,
    ) -> Result<Self, SmtpError> {
        let (_, greeting) = link.reply(timeout).await?;
        expect_yes(&link, CommandKind::Connect, &greeting)?;
        let mut session = Self {
            link,
            protocol,
            extensions: Extensions::default(),
            unclean: false,
            is_over: false,
            messages: 0,
            timeout,
        };
        session.introduce(hello).await?;
        Ok(session)
    }

    /// Introduces us to the server.
    ///
    /// One that does not know EHLO is greeted with HELO (RFC 5321 §3.2).
    async fn introduce(&mut self, hello: &str) -> Result<(), SmtpError> {
        let introduce = match self.protocol {
            Protocol::Lmtp => Command::Lhlo(hello.to_owned()),
            Protocol::Smtp => Command::Ehlo(hello.to_owned()),
        };
        let kind = introduce.kind();
        let reply = self.request(introduce).await?;
        if reply.is_positive() {
            self.extensions = Extensions::of(&reply);
            return Ok(());
        }
        if self.protocol == Protocol::Smtp && reply.is_permanent() {
            let plain = self.request(Command::Helo(hello.to_owned())).await?;
            // Of two refusals the first says more.
            if plain.is_positive() {
                self.extensions = Extensions::default();
                return Ok(());
            }
        }
        expect_yes(&self.link, kind, &reply)
    }

    /// Whether the server offers TLS.
    pub(super) const fn offers_tls(&self) -> bool {
        self.extensions.start_tls
    }

    /// Starts TLS; what the server said before is forgotten (RFC 3207 §4.2).
    pub(super) async fn start_tls(
        mut self,
        client: &tls::Client,
        hello: &str,
    ) -> Result<(Self, Secured), SmtpError> {
        let reply = self.request(Command::StartTls).await?;
        expect_yes(&self.link, CommandKind::StartTls, &reply)?;
        let (link, secured) = self.link.secure(client).await?;
        let mut session = Self { link, ..self };
        session.introduce(hello).await?;
        Ok((session, secured))
    }

    /// Sends a command and waits for the answer.
    pub(super) async fn request(&mut self, command: Command) -> Result<Reply, SmtpError> {
        self.link.send(command)?;
        let (_, reply) = self.link.reply(self.timeout).await?;
        Ok(reply)
    }

    /// Gives the server a message; returns what it says for each recipient.
    ///
    /// # Errors
    /// When the session is lost. `committed` tells then whether the server may have the message
    /// nevertheless.
    pub(super) async fn give(
        &mut self,
        mut parcel: Parcel<'_>,
        committed: &mut bool,
    ) -> Result<Vec<Verdict>, SmtpError> {
        if let Some(verdict) = self.cannot_carry(&parcel) {
            return Ok(vec![verdict; parcel.recipients.len()]);
        }
        let timeout = self.timeout;
        if !self.extensions.smtp_utf8 && !parcel.sender.is_ascii() {
            // The sender is a guess at who wants to hear of trouble, and no reason to have some.
            parcel.sender = "";
        }
        let parameters = MailParameters {
            size: self.extensions.size.then_some(parcel.survey.size),
            eight_bit: self.extensions.eight_bit_mime && parcel.survey.eight_bit,
            utf8: needs_utf8(&[parcel.sender]) || needs_utf8(parcel.recipients),
        };
        if self.unclean {
            self.ask(Command::Rset, self.extensions.pipelining).await?;
            self.unclean = false;
        }
        self.unclean = true;
        // With a single recipient nothing hangs on the order of yes and no. With several, LMTP
        // must not have its replies counted wrong, and so DATA waits for theirs.
        let ahead = self.extensions.pipelining;
        let data_ahead = ahead && self.protocol == Protocol::Smtp && parcel.recipients.len() == 1;
        let mut replies = Replies::default();
        let mail = Command::Mail {
            reverse_path: parcel.sender.to_owned(),
            parameters,
        };
        self.link.send(mail)?;
        if !ahead {
            self.hear(&mut replies).await?;
            if let Some(no) = replies.refusal_of_mail() {
                return Ok(vec![no; parcel.recipients.len()]);
            }
        }
        for recipient in parcel.recipients {
            self.link.send(Command::Rcpt((*recipient).to_owned()))?;
            if !ahead {
                self.hear(&mut replies).await?;
            }
        }
        if data_ahead {
            self.link.send(Command::Data)?;
        }
        self.hear(&mut replies).await?;
        if let Some(no) = replies.refusal_of_mail() {
            self.end_unwanted(&replies).await?;
            return Ok(vec![no; parcel.recipients.len()]);
        }
        let mut verdicts: Vec<_> = replies.recipients.iter().map(verdict_of_rcpt).collect();
        if !verdicts.contains(&Verdict::Accepted) {
            self.end_unwanted(&replies).await?;
            return Ok(verdicts);
        }
        if !data_ahead {
            self.link.send(Command::Data)?;
            self.hear(&mut replies).await?;
        }
        let accepted = verdicts
            .iter_mut()
            .filter(|verdict| **verdict == Verdict::Accepted);
        match &replies.data {
            Some(reply) if reply.is_intermediate() => {}
            Some(reply) => {
                let no = refused(CommandKind::Data, reply);
                accepted.for_each(|verdict| *verdict = no.clone());
                return Ok(verdicts);
            }
            None => return Err(self.lost()),
        }

        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = parcel
                .text
                .read(&mut buffer)
                .map_err(|source| SmtpError::Lost {
                    server: self.link.server.clone(),
                    source,
                })?;
            if length == 0 {
                break;
            }
            self.link.text(&buffer[..length], timeout).await?;
        }
        self.link.end_text()?;
        *committed = true;
        let mut last = Verdict::Accepted;
        let mut answers = 0;
        for verdict in accepted {
            // SMTP answers once for all, LMTP for each.
            if self.protocol == Protocol::Lmtp || answers == 0 {
                last = match self.link.reply(2 * timeout).await {
                    Ok((_, reply)) if reply.is_positive() => Verdict::Accepted,
                    Ok((_, reply)) => refused(CommandKind::Text, &reply),
                    // Who was told yes has the message; of the others nobody knows.
                    Err(error) if answers > 0 => {
                        self.is_over = true;
                        Verdict::Refused {
                            code: None,
                            reason: format!(
                                "the answer to it was lost, so it may have arrived: {error}"
                            ),
                            said: String::new(),
                            for_good: false,
                            at: CommandKind::Text,
                        }
                    }
                    Err(error) => return Err(error),
                };
                answers += 1;
            }
            *verdict = last.clone();
        }
        self.unclean = false;
        self.messages = self.messages.saturating_add(1);
        Ok(verdicts)
    }

    /// Says goodbye; how that is answered does not matter.
    pub(super) async fn quit(mut self) {
        if self.link.send(Command::Quit).is_ok() {
            let patience = self.timeout.min(PATIENCE_WITH_QUIT);
            self.link.reply(patience).await.ok();
        }
    }

    /// What the server has said beforehand that it cannot take.
    fn cannot_carry(&self, parcel: &Parcel<'_>) -> Option<Verdict> {
        let size = parcel.survey.size;
        let reason = match self.extensions.size_limit {
            Some(limit) if size > limit => {
                format!("it has {size} octets, and the server takes no more than {limit}")
            }
            _ if needs_utf8(parcel.recipients) && !self.extensions.smtp_utf8 => {
                "the server cannot take addresses beyond ASCII (it has no SMTPUTF8)".to_owned()
            }
            _ => return None,
        };
        Some(Verdict::Refused {
            code: None,
            reason,
            said: String::new(),
            for_good: true,
            at: CommandKind::Mail,
        })
    }

    /// Sends a command, and waits for the answer unless it may come later.
    async fn ask(&mut self, command: Command, later: bool) -> Result<(), SmtpError> {
        self.link.send(command)?;
        if !later {
            self.link.reply(self.timeout).await?;
        }
        Ok(())
    }

    /// Hears everything that is due.
    async fn hear(&mut self, replies: &mut Replies) -> Result<(), SmtpError> {
        while self.link.in_flight() > 0 {
            let (to, reply) = self.link.reply(self.timeout).await?;
            if reply.is_closing() {
                return Err(SmtpError::Refused {
                    server: self.link.server.clone(),
                    command: to,
                    text: reply.to_text(),
                    for_good: false,
                });
            }
            match to {
                CommandKind::Mail => replies.mail = Some(reply),
                CommandKind::Rcpt => replies.recipients.push(reply),
                CommandKind::Data => replies.data = Some(reply),
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends a message that nobody wants though the server asks for it, with nothing in it
    /// (RFC 2920 §3.1).
    async fn end_unwanted(&mut self, replies: &Replies) -> Result<(), SmtpError> {
        if replies.data.as_ref().is_some_and(Reply::is_intermediate) {
            self.link.end_text()?;
            let mut rest = Replies::default();
            self.hear(&mut rest).await?;
        }
        Ok(())
    }

    fn lost(&self) -> SmtpError {
        SmtpError::Lost {
            server: self.link.server.clone(),
            source: std::io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// What was answered before the text.
#[derive(Default)]
struct Replies {
    mail: Option<Reply>,
    recipients: Vec<Reply>,
    data: Option<Reply>,
}

impl Replies {
    fn refusal_of_mail(&self) -> Option<Verdict> {
        let reply = self.mail.as_ref().filter(|reply| !reply.is_positive())?;
        Some(refused(CommandKind::Mail, reply))
    }
}

fn verdict_of_rcpt(reply: &Reply) -> Verdict {
    if reply.is_positive() {
        Verdict::Accepted
    } else {
        refused(CommandKind::Rcpt, reply)
    }
}

fn refused(at: CommandKind, reply: &Reply) -> Verdict {
    Verdict::Refused {
        code: Some(reply.code()),
        reason: format!("the server refused {at}: {}", reply.to_text()),
        said: reply.to_text(),
        // What is neither yes nor no is not for ever.
        for_good: reply.is_permanent(),
        at,
    }
}

fn expect_yes(link: &Link, command: CommandKind, reply: &Reply) -> Result<(), SmtpError> {
    if reply.is_positive() {
        return Ok(());
    }
    Err(SmtpError::Refused {
        server: link.server.clone(),
        command,
        text: reply.to_text(),
        for_good: reply.is_permanent(),
    })
}

fn needs_utf8(addresses: &[&str]) -> bool {
    !addresses.iter().all(|address| address.is_ascii())
}

/// Reads a text through.
pub(super) fn survey(mut text: impl Read) -> std::io::Result<Survey> {
    let mut survey = Survey::default();
    let mut buffer = vec![0; 64 << 10];
    let mut last = b'\n';
    loop {
        let length = text.read(&mut buffer)?;
        let Some(&end) = buffer[..length].last() else {
            break;
        };
        let piece = &buffer[..length];
        let line_ends = memchr::memchr_iter(b'\n', piece).count();
        survey.size += (length + line_ends) as u64;
        survey.eight_bit |= !piece.is_ascii();
        last = end;
    }
    if last != b'\n' {
        survey.size += 2;
    }
    Ok(survey)
}

/// How long an answer to QUIT is waited for.
const PATIENCE_WITH_QUIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_on_the_wire() {
        let surveyed = |text: &[u8]| {
            let Survey { size, eight_bit } = survey(text).unwrap();
            (size, eight_bit)
        };
        assert_eq!(surveyed(b""), (0, false));
        assert_eq!(surveyed(b"a\nb\n"), (6, false));
        assert_eq!(surveyed(b"a\nb"), (6, false));
        assert_eq!(surveyed("ü\n".as_bytes()), (4, true));
    }
}
