use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::*;

/// A stream that keeps what it is given until a flush, and is in no hurry to flush: the way TLS
/// behaves when the connection below it takes nothing at the moment.
#[derive(Default)]
struct Lazy {
    held: Vec<u8>,
    flushed: Vec<u8>,
    refusals: usize,
    answers: VecDeque<&'static [u8]>,
    asleep: Option<std::task::Waker>,
}

impl AsyncRead for Lazy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // It answers whole commands that it really got, and greets first.
        let commands = self.flushed.iter().filter(|&&octet| octet == b'\n').count();
        let answered = 2 - self.answers.len();
        match self.answers.front() {
            Some(answer) if answered <= commands => {
                buf.put_slice(answer);
                self.answers.pop_front();
                Poll::Ready(Ok(()))
            }
            _ => {
                self.asleep = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Lazy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusals > 0 {
            self.refusals -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let held = std::mem::take(&mut self.held);
        self.flushed.extend(held);
        if let Some(waker) = self.asleep.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_flush_could_not_finish_goes_out_later() {
    let stream = Lazy {
        refusals: 3,
        answers: VecDeque::from([&b"+OK ready\r\n"[..], b"+OK bye\r\n"]),
        ..Lazy::default()
    };
    let mut session = Session::new(Box::new(stream), "work", Duration::from_secs(60));
    session.greeting().await.unwrap();
    assert_eq!(session.quit().await.unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_ends_only_what_waits_for_the_server_and_hears_nothing() {
    let doubts = Doubts::default();
    let (ours, mut server) = tokio::io::duplex(1024);
    let limit = Duration::from_secs(60 * 60);
    let session = Session::new(Box::new(ours), "work", limit);
    let mut session = session.doubting(doubts.follow());
    server.write_all(b"+OK ready\r\n").await.unwrap();
    session.greeting().await.unwrap();

    // Whoever does something else meanwhile, and then is answered, goes on with all patience.
    doubts.raise(Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(100)).await;
    session.noop().unwrap();
    let answer = async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        server.write_all(b"+OK\r\n").await.unwrap();
    };
    let (heard, ()) = tokio::join!(session.exchange(), answer);
    heard.unwrap();
    while session.event().unwrap().is_some() {}
    session.noop().unwrap();
    let began = Instant::now();
    let answer = async {
        tokio::time::sleep(Duration::from_secs(30 * 60)).await;
        server.write_all(b"+OK\r\n").await.unwrap();
    };
    let (heard, ()) = tokio::join!(session.exchange(), answer);
    heard.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(30 * 60));
    while session.event().unwrap().is_some() {}

    session.noop().unwrap();
    let raise = async { doubts.raise(Duration::from_secs(10)) };
    let began = Instant::now();
    let (heard, ()) = tokio::join!(session.exchange(), raise);
    assert!(
        matches!(heard, Err(SessionError::Asleep { .. })),
        "{heard:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(11));
}
