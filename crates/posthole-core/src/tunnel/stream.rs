//! A direct-tcpip channel as a byte stream.
//!
//! [`ChannelStream`] exists because russh's own ends
//! the same way whether the server sent an EOF, sent an empty packet, or was never heard of again;
//! here only the first is an end, the second is nothing, and the third is an error with its reason.
//!
//! Whoever holds one must keep reading: russh hands packets of all channels of a connection through
//! one task, and a channel that is not read stops all others once its buffer is full. For the same
//! reason more than a few packets must not be written without reading at the same time.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, Use};
use super::loss::{Cause, Ending, Loss};

/// A direct-tcpip channel (RFC 4254 §7.2).
pub(super) struct ChannelStream {
    reader: ChannelReadHalf,
    inbound: Inbound,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    control: Arc<ChannelWriteHalf<Msg>>,
    /// The reason of the end of the connection, one for each direction, since the two may be waited
    /// for by different tasks.
    reading_lost: Pin<Box<dyn Future<Output = Loss> + Send>>,
    writing_lost: Pin<Box<dyn Future<Output = Loss> + Send>>,
    /// Whether nothing can be written any more.
    is_gone: bool,
    /// Keeps the connection, and those below it, for as long as there is a channel on it.
    connection: Arc<Connection>,
    /// Taken along by what closes the channel.
    using: Option<Use>,
}

impl ChannelStream {
    pub(super) fn new(channel: Channel<Msg>, connection: Arc<Connection>) -> Self {
        let (reader, control) = channel.split();
        Self {
            reader,
            inbound: Inbound::default(),
            writer: Box::pin(control.make_writer()),
            control: Arc::new(control),
            // Nothing is read any more only once the channel is gone.
            reading_lost: Box::pin(soon(connection.ending())),
            writing_lost: Box::pin(connection.ending().wait()),
            is_gone: false,
            using: Some(connection.used()),
            connection,
        }
    }

    /// Waits for the connection to be lost, which is the only thing that can still happen.
    fn poll_reading_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let loss = ready!(self.reading_lost.as_mut().poll(cx));
        self.reading_lost = Box::pin(std::future::ready(loss.clone()));
        Poll::Ready(loss.into_io(self.connection.host()))
    }

    /// The channel is gone, and with it most likely the connection.
    fn expect_loss(&mut self) {
        if !self.is_gone {
            self.is_gone = true;
            self.writing_lost = Box::pin(soon(self.connection.ending()));
        }
    }

    fn poll_writing_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let loss = ready!(self.writing_lost.as_mut().poll(cx));
        self.writing_lost = Box::pin(std::future::ready(loss.clone()));
        Poll::Ready(loss.into_io(self.connection.host()))
    }
}

/// Why the connection ended, which should follow at once.
async fn soon(ending: Ending) -> Loss {
    let loss = tokio::time::timeout(REASON_FOLLOWS_WITHIN, ending.wait()).await;
    loss.unwrap_or_else(|_| Loss {
        reason: "the server ended the channel out of turn".to_owned(),
        cause: Cause::Broken,
    })
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.inbound.unread.is_empty() {
                let count = buffer.remaining().min(self.inbound.unread.len());
                buffer.put_slice(&self.inbound.unread.split_to(count));
                return Poll::Ready(Ok(()));
            }
            match self.inbound.end {
                Some(End::Lost) => return self.poll_reading_lost(cx).map(Err),
                Some(End::Said) => return Poll::Ready(Ok(())),
                None if buffer.remaining() == 0 => return Poll::Ready(Ok(())),
                None => {}
            }
            // Receiving from a channel can be given up at any time without losing a message, so a
            // new future for every poll does.
            let message = ready!(pin!(self.reader.wait()).poll(cx));
            self.inbound.receive(message);
        }
    }
}

/// What has come from the server.
#[derive(Debug, Default)]
struct Inbound {
    /// What came with the last packet and was not read yet.
    unread: Bytes,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The channel is gone, and so is the connection unless the server broke the protocol.
    Lost,
    /// The server ended its side of the channel.
    Said,
}

impl Inbound {
    /// Takes in a message, or that there will be none.
    fn receive(&mut self, message: Option<ChannelMsg>) {
        match message {
            // Perhaps with nothing in it, which is not an end.
            Some(ChannelMsg::Data { data }) => self.unread = data,
            Some(ChannelMsg::Eof | ChannelMsg::Close) => self.end = Some(End::Said),
            // Nobody opens it any more: russh has dropped the channel.
            Some(ChannelMsg::OpenFailure(_)) | None => self.end = Some(End::Lost),
            Some(_) => {}
        }
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match self.writer.as_mut().poll_write(cx, bytes) {
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(count)),
            // A writer that waits for the window is not told by russh when the session ends.
            Poll::Pending => self.poll_writing_lost(cx).map(Err),
            Poll::Ready(Err(_)) => {
                self.expect_loss();
                self.poll_writing_lost(cx).map(Err)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.writer.as_mut().poll_shutdown(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => {
                self.expect_loss();
                self.poll_writing_lost(cx).map(Err)
            }
        }
    }
}

impl Drop for ChannelStream {
    fn drop(&mut self) {
        let control = Arc::clone(&self.control);
        let using = self.using.take();
        // Without a runtime there is no session left to close the channel of.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Fails only if the connection is gone, and the channel with it.
                control.close().await.ok();
                drop(using);
            });
        }
    }
}

impl fmt::Debug for ChannelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelStream")
            .field("host", &self.connection.host())
            .finish()
    }
}

/// The reason is written before the end is shown; this only bounds a surprise.
const REASON_FOLLOWS_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_word_is_an_end_of_the_stream() {
        let mut inbound = Inbound::default();
        inbound.receive(Some(ChannelMsg::Data { data: Bytes::new() }));
        inbound.receive(Some(ChannelMsg::WindowAdjusted { new_size: 1 }));
        assert_eq!(inbound.end, None);
        inbound.receive(Some(ChannelMsg::Data {
            data: Bytes::from_static(b"+OK"),
        }));
        assert_eq!((&inbound.unread[..], inbound.end), (&b"+OK"[..], None));
        inbound.receive(Some(ChannelMsg::Eof));
        assert_eq!(inbound.end, Some(End::Said));

        let mut inbound = Inbound::default();
        inbound.receive(None);
        assert_eq!(inbound.end, Some(End::Lost));
    }
}
