use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
