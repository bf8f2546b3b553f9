//! One connection to the server.

use std::sync::Arc;

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{Delivered, Reply, Shared, Then, lock};
use crate::sasl::{Exchange, Next};

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: Box<dyn Stream>) {
    let connection = {
        let mut connections = lock(&shared.connections);
        *connections += 1;
        *connections
    };
    let mut session = Session {
        shared,
        stream,
        connection,
        is_tls: false,
        is_logged_in: false,
        input: Vec::new(),
        introduced: None,
        sender: None,
        recipients: Vec::new(),
    };
    // The client is gone, or is to think so.
    session.run().await.ok();
}

/// What a connection goes through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

struct Session {
    shared: Arc<Shared>,
    stream: Box<dyn Stream>,
    is_tls: bool,
    is_logged_in: bool,
    connection: usize,
    input: Vec<u8>,
    /// Whether extensions were offered, once the client said its name.
    introduced: Option<bool>,
    /// With what followed it.
    sender: Option<(String, String)>,
    recipients: Vec<String>,
}

/// The connection is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Session {
    async fn run(&mut self) -> Result<(), Over> {
        if self.shared.tls_at_once {
            self.start_tls().await?;
        }
        self.answer("GREETING", "220 testkit ESMTP").await?;
        loop {
            let line = self.line().await?;
            let commands = &self.shared.commands;
            lock(commands).push((self.connection, line.clone()));
            let verb = line.split([' ', ':']).next().unwrap_or_default();
            let verb = verb.to_ascii_uppercase();
            // RFC 2920 §3.1: these are the last of their group.
            let last = matches!(verb.as_str(), "EHLO" | "LHLO" | "DATA" | "NOOP" | "QUIT")
                || matches!(verb.as_str(), "AUTH" | "STARTTLS");
            if !self.input.is_empty() && (last || !self.offers("PIPELINING")) {
                self.breach(&format!("something was sent ahead of the reply to {verb}"));
            }
            if self.introduced.is_none()
                && !matches!(verb.as_str(), "EHLO" | "HELO" | "LHLO" | "QUIT")
            {
                self.breach(&format!("{verb} before an introduction"));
            }
            match verb.as_str() {
                "EHLO" | "LHLO" if (verb == "LHLO") == self.shared.lmtp => {
                    let mut lines = vec!["testkit".to_owned()];
                    lines.extend(self.shared.extensions.iter().cloned());
                    if self.shared.tls.is_some() && !self.is_tls {
                        lines.push("STARTTLS".to_owned());
                    }
                    if !self.shared.mechanisms.is_empty() {
                        lines.push(format!("AUTH {}", self.shared.mechanisms.join(" ")));
                    }
                    let end = lines.len() - 1;
                    let text = lines.iter().enumerate().map(|(idx, line)| {
                        let more = if idx < end { '-' } else { ' ' };
                        format!("250{more}{line}\r\n")
                    });
                    let text: String = text.collect();
                    if self.answer(&line, text.trim_end()).await? {
                        self.introduced = Some(true);
                    }
                }
                "HELO" if !self.shared.lmtp => {
                    if self.answer(&line, "250 testkit").await? {
                        self.introduced = Some(false);
                    }
                }
                "STARTTLS" if self.shared.tls.is_some() && !self.is_tls => {
                    if self.answer(&line, "220 go ahead").await? {
                        self.start_tls().await?;
                    }
                }
                "AUTH" => self.auth(&line).await?,
                "MAIL" if !self.shared.accounts.is_empty() && !self.is_logged_in => {
                    self.answer(&line, "530 log in first").await?;
                }
                "MAIL" => self.mail(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => self.data(&line).await?,
                "RSET" => {
                    self.reset();
                    self.answer(&line, "250 reset").await?;
                }
                "NOOP" => {
                    self.answer(&line, "250 ok").await?;
                }
                "QUIT" => {
                    self.answer(&line, "221 bye").await?;
                    return Err(Over);
                }
                _ => {
                    self.answer(&line, "500 unknown command").await?;
                }
            }
        }
    }

    /// Begins anew inside TLS; what was said before is forgotten (RFC 3207 §4.2).
    async fn start_tls(&mut self) -> Result<(), Over> {
        let config = self.shared.tls.clone().ok_or(Over)?;
        if !self.input.is_empty() {
            self.breach("something was sent ahead of TLS");
        }
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let accepted = TlsAcceptor::from(config).accept(stream).await?;
        self.stream = Box::new(accepted);
        self.is_tls = true;
        self.introduced = None;
        Ok(())
    }

    async fn auth(&mut self, line: &str) -> Result<(), Over> {
        let argument = line.split_once(' ').map_or("", |(_, argument)| argument);
        let shared = Arc::clone(&self.shared);
        let (mut exchange, mut next) = Exchange::begin(argument, &*shared);
        loop {
            match next {
                Next::Challenge(challenge) => {
                    let challenge = format!("334 {}", BASE64.encode(&challenge));
                    if !self.answer("CHALLENGE", &challenge).await? {
                        return Ok(());
                    }
                    let response = self.line().await?;
                    next = exchange.receive(&response, &*shared);
                }
                Next::Accept(_) => {
                    self.is_logged_in = self.answer(line, "235 welcome").await?;
                    return Ok(());
                }
                Next::Refuse(why) => {
                    self.answer(line, &format!("535 {why}")).await?;
                    return Ok(());
                }
            }
        }
    }

    async fn mail(&mut self, line: &str) -> Result<(), Over> {
        if self.sender.is_some() {
            self.breach("MAIL inside a message");
        }
        let (path, parameters) = path(line);
        let offered = |keyword: &str| self.offers(keyword);
        for parameter in parameters.split_whitespace() {
            let keyword = parameter.split('=').next().unwrap_or_default();
            let extension = if keyword == "BODY" {
                "8BITMIME"
            } else {
                keyword
            };
            if !offered(extension) {
                self.breach(&format!("{parameter} was not offered"));
            }
        }
        if self.answer(line, "250 sender ok").await? {
            self.sender = Some((path, parameters));
        }
        Ok(())
    }

    async fn rcpt(&mut self, line: &str) -> Result<(), Over> {
        if self.sender.is_none() {
            self.answer(line, "503 MAIL first").await?;
            return Ok(());
        }
        if self.answer(line, "250 recipient ok").await? {
            self.recipients.push(path(line).0);
        }
        Ok(())
    }

    async fn data(&mut self, line: &str) -> Result<(), Over> {
        if self.recipients.is_empty() {
            self.answer(line, "503 RCPT first").await?;
            return Ok(());
        }
        if !self.answer(line, "354 go ahead").await? {
            return Ok(());
        }
        let text = self.text().await?;
        let recipients = std::mem::take(&mut self.recipients);
        let answers: Vec<Vec<String>> = if self.shared.lmtp {
            recipients
                .into_iter()
                .map(|recipient| vec![recipient])
                .collect()
        } else {
            vec![recipients]
        };
        for recipients in answers {
            let key = match &recipients[..] {
                [one] => format!("TEXT {one}"),
                _ => "TEXT".to_owned(),
            };
            let rule = self.shared.rule(&key);
            if rule.as_ref().is_none_or(|reply| reply.accept) {
                self.keep(&recipients, &text);
            }
            let reply = rule.unwrap_or_else(|| Reply::send("250 taken"));
            self.carry_out(reply).await?;
        }
        self.reset();
        Ok(())
    }

    fn keep(&self, recipients: &[String], text: &[u8]) {
        let (sender, parameters) = self.sender.clone().unwrap_or_default();
        let messages = &self.shared.messages;
        lock(messages).extend(recipients.iter().map(|recipient| Delivered {
            sender: sender.clone(),
            parameters: parameters.clone(),
            recipient: recipient.clone(),
            text: text.to_vec(),
            connection: self.connection,
        }));
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    /// Answers by a rule or as usual; true if that was a yes.
    async fn answer(&mut self, command: &str, usual: &str) -> Result<bool, Over> {
        let reply = self.shared.rule(command);
        let reply = reply.unwrap_or_else(|| Reply::send(usual));
        let yes = reply
            .text
            .as_deref()
            .is_some_and(|text| text.starts_with(['2', '3']));
        self.carry_out(reply).await?;
        Ok(yes)
    }

    async fn carry_out(&mut self, reply: Reply) -> Result<(), Over> {
        tokio::time::sleep(reply.after).await;
        if let Some(text) = &reply.text {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.write_all(b"\r\n").await?;
            self.stream.flush().await?;
        }
        match reply.then {
            Then::GoOn => Ok(()),
            Then::Close => {
                // What is unread at a close would make it a reset, which may take the reply along.
                self.stream.shutdown().await?;
                self.drain().await;
                Err(Over)
            }
            Then::Stall => {
                self.drain().await;
                Err(Over)
            }
        }
    }

    /// Reads until the client is gone.
    async fn drain(&mut self) {
        let mut waste = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut waste).await {}
    }

    async fn fill(&mut self) -> Result<(), Over> {
        let mut buffer = [0; 8192];
        match self.stream.read(&mut buffer).await? {
            0 => Err(Over),
            length => {
                self.input.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }

    async fn line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(end) = find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                if line.contains(&b'\n') || line.contains(&b'\r') {
                    self.breach("a bare CR or LF in a command");
                }
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.fill().await?;
        }
    }

    /// Reads a text up to its end, and undoes the doubling of dots.
    async fn text(&mut self) -> Result<Vec<u8>, Over> {
        let mut text = Vec::new();
        loop {
            while let Some(end) = find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                let inner = &line[..end];
                if inner.contains(&b'\n') || inner.contains(&b'\r') {
                    self.breach("a bare CR or LF in a message");
                }
                match inner {
                    b"." => return Ok(text),
                    [b'.', ..] => text.extend_from_slice(&line[1..]),
                    _ => text.extend_from_slice(&line),
                }
            }
            if let Some(reply) = self.shared.rule("INSIDE TEXT") {
                self.carry_out(reply).await?;
            }
            self.fill().await?;
        }
    }

    fn offers(&self, extension: &str) -> bool {
        self.introduced == Some(true)
            && self
                .shared
                .extensions
                .iter()
                .any(|one| one.split(' ').next() == Some(extension))
    }

    fn breach(&self, what: &str) {
        lock(&self.shared.breaches).push(what.to_owned());
    }
}

/// What stands between angle brackets, and what follows.
fn path(line: &str) -> (String, String) {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.rsplit_once('>'));
    let (path, parameters) = inner.unwrap_or_default();
    (path.to_owned(), parameters.trim().to_owned())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}
