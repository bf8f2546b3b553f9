//! The stream to a server that takes mail, and the driver of [`smtp::Client`] over it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use posthole_proto::smtp::{self, Client, Command, CommandKind, Event, Limits, Protocol, Reply};
use secrecy::{SecretSlice, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::SmtpError;
use crate::transport::BoxStream;
use crate::transport::tls::{self, Secured};

/// A connection to a server, in the middle of a conversation.
pub(super) struct Link {
    stream: BoxStream,
    client: Client,
    input: Box<[u8]>,
    events: VecDeque<Event>,
    /// The server as errors name it.
    pub(super) server: String,
}

impl Link {
    pub(super) fn new(stream: BoxStream, protocol: Protocol, server: String) -> Self {
        Self {
            stream,
            client: Client::new(protocol, Limits::default()),
            input: vec![0; 8 << 10].into_boxed_slice(),
            events: VecDeque::new(),
            server,
        }
    }

    /// Queues a command, which is written when a reply is waited for.
    pub(super) fn send(&mut self, command: Command) -> Result<(), SmtpError> {
        tracing::debug!(target: "posthole::smtp", server = self.server, "C: {command}");
        let sent = self.client.send(command);
        sent.map_err(|error| self.failed(error.into()))
    }

    /// The next reply. The caller has asked for it.
    pub(super) async fn reply(
        &mut self,
        limit: Duration,
    ) -> Result<(CommandKind, Reply), SmtpError> {
        loop {
            match self.events.pop_front() {
                Some(Event::Reply { to, reply }) => return Ok((to, reply)),
                Some(Event::Unasked(reply)) => return Err(self.closing(&reply)),
                None => self.exchange(limit).await?,
            }
        }
    }

    /// The answer to a challenge, or none to call the exchange off.
    pub(super) fn respond(&mut self, response: Option<&SecretSlice<u8>>) -> Result<(), SmtpError> {
        let shown = if response.is_some() { "****" } else { "*" };
        tracing::debug!(target: "posthole::smtp", server = self.server, "C: {shown}");
        let sent = match response {
            Some(response) => self.client.respond(response),
            None => self.client.cancel(),
        };
        sent.map_err(|error| self.failed(error.into()))
    }

    /// Remembers a password so as not to show it when the server repeats it.
    pub(super) fn conceal(&mut self, password: &SecretString) {
        self.client.conceal(password);
    }

    /// Starts TLS, once the server has said yes to it (RFC 3207 §4).
    ///
    /// If more than the yes is here, somebody may have put it there to be taken for the server's
    /// answers inside TLS (CVE-2011-0411).
    pub(super) async fn secure(self, client: &tls::Client) -> Result<(Self, Secured), SmtpError> {
        if self.client.is_midway() || !self.events.is_empty() {
            return Err(SmtpError::Injected {
                server: self.server,
            });
        }
        let secured = client.handshake(self.stream).await;
        let (stream, secured) = secured.map_err(SmtpError::Tls)?;
        Ok((Self { stream, ..self }, secured))
    }

    /// Sends a piece of a message, whose lines end in LF.
    ///
    /// # Errors
    /// Also when the server says something meanwhile, which means that it has had enough.
    pub(super) async fn text(&mut self, piece: &[u8], limit: Duration) -> Result<(), SmtpError> {
        let queued = self.client.text(piece);
        queued.map_err(|error| self.failed(error.into()))?;
        while !self.client.output().is_empty() {
            self.exchange(limit).await?;
            match self.events.pop_front() {
                Some(Event::Reply { reply, .. } | Event::Unasked(reply)) => {
                    return Err(self.closing(&reply));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Ends the message; [`smtp::Client::end_text`] says how many replies come.
    pub(super) fn end_text(&mut self) -> Result<(), SmtpError> {
        let ended = self.client.end_text();
        ended.map_err(|error| self.failed(error.into()))
    }

    /// How many replies are due.
    pub(super) fn in_flight(&self) -> usize {
        self.client.in_flight() + self.events.len()
    }

    /// Writes all that is queued, or reads something, whichever can be done first.
    async fn exchange(&mut self, limit: Duration) -> Result<(), SmtpError> {
        let exchanged = tokio::time::timeout(limit, poll_fn(|cx| self.poll_exchange(cx))).await;
        let length = match exchanged {
            Ok(Ok(length)) => length,
            Ok(Err(source)) => {
                return Err(SmtpError::Lost {
                    server: self.server.clone(),
                    source,
                });
            }
            Err(_elapsed) => {
                return Err(SmtpError::TimedOut {
                    server: self.server.clone(),
                    after: limit,
                });
            }
        };
        match length {
            None => Ok(()),
            Some(0) => {
                let ended = self.client.end_of_input();
                ended.map_err(|error| self.failed(error))?;
                Err(SmtpError::Lost {
                    server: self.server.clone(),
                    source: io::ErrorKind::UnexpectedEof.into(),
                })
            }
            Some(length) => self.hear(length),
        }
    }

    /// Returns how much was read, or nothing when everything is written.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let mut wrote = false;
        while !self.client.output().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.client.output())? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(length) => self.client.output_written(length),
                // Reading goes on meanwhile; the stream wakes us for either.
                Poll::Pending => break,
            }
            wrote = true;
        }
        if wrote {
            // What a flush cannot finish now goes out with a later poll.
            let _pending = Pin::new(&mut self.stream).poll_flush(cx)?;
        }
        let mut buffer = ReadBuf::new(&mut self.input);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer)? {
            Poll::Ready(()) => Poll::Ready(Ok(Some(buffer.filled().len()))),
            Poll::Pending if wrote && self.client.output().is_empty() => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn hear(&mut self, length: usize) -> Result<(), SmtpError> {
        let mut unread = 0..length;
        while !unread.is_empty() {
            let received = match self.client.receive(&self.input[unread.clone()]) {
                Ok(received) => received,
                Err(error) => return Err(self.failed(error)),
            };
            unread.start += received.consumed;
            if let Some(event) = received.event {
                let (Event::Reply { reply, .. } | Event::Unasked(reply)) = &event;
                tracing::debug!(target: "posthole::smtp", server = self.server, "S: {}", reply.to_text());
                self.events.push_back(event);
            }
        }
        Ok(())
    }

    fn failed(&self, source: smtp::Error) -> SmtpError {
        SmtpError::Protocol {
            server: self.server.clone(),
            source,
        }
    }

    fn closing(&self, reply: &Reply) -> SmtpError {
        SmtpError::Refused {
            server: self.server.clone(),
            command: CommandKind::Text,
            text: reply.to_text(),
            for_good: reply.is_permanent(),
        }
    }
}
