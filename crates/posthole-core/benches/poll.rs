//! What the stages of a poll cost: the opening, the comparison with the records, a batch of mail.
//!
//! What is measured is a function in [`unit`]. Those without a disk run alone in `cargo xtask
//! instructions` too, where instructions are counted instead of time.
//!
//! All directories are below one that is removed at the very end: ext4 is slow to take into use
//! again what has just been freed, and would charge one benchmark for the cleaning of another.

use std::io::{self, Cursor};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use posthole_core::bench::{Home, InNew, InTmp, Listed, OnRecord};
use posthole_core::transport::BoxStream;
use posthole_testkit::mail;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

fn main() {
    // On the disk that Cargo builds on; the usual place for temporary files may be in memory.
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    DIRECTORY.get_or_init(|| directory.path().to_owned());
    divan::main();
}

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// Shows how often memory is allocated, beside the times.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// 1 MiB of text from CRLF to LF, in pieces of 32 KiB.
#[divan::bench]
fn crlf_to_lf(bencher: Bencher<'_, '_>) {
    let text = mail::small(420).concat();
    bencher
        .counter(BytesCount::of_slice(&text))
        .with_inputs(|| Vec::with_capacity(text.len()))
        .bench_local_refs(|out| unit::crlf_to_lf(black_box(&text), out));
}

/// Login, STAT, UIDL and LIST in one flight.
#[divan::bench]
fn list(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(LISTED))
        .with_inputs(|| answers(1))
        .bench_local_values(|answers| unit::list(&runtime, answers));
}

/// A listing of which all but the last 1 000 messages are on record.
#[divan::bench]
fn compare(bencher: Bencher<'_, '_>) {
    let (home, listed) = mailbox();
    bencher
        .counter(ItemsCount::new(LISTED))
        .bench_local(|| unit::compare(&home, black_box(&listed)));
}

#[divan::bench]
fn decide(bencher: Bencher<'_, '_>) {
    let (home, listed) = mailbox();
    let compared = home.compare(&listed, now()).expect("records");
    bencher
        .counter(ItemsCount::new(LISTED))
        .bench_local(|| unit::decide(black_box(&listed), black_box(&compared)));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn batch_1_spool(bencher: Bencher<'_, '_>) {
    let (home, texts) = batch();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .bench_local(|| unit::spool(&home, &texts));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn batch_2_intend(bencher: Bencher<'_, '_>) {
    let (home, texts) = batch();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .with_inputs(|| unit::spool(&home, &texts))
        .bench_local_values(|batch| unit::intend(&home, batch));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn batch_3_publish(bencher: Bencher<'_, '_>) {
    let (home, texts) = batch();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .with_inputs(|| unit::intend(&home, unit::spool(&home, &texts)))
        .bench_local_values(|batch| unit::publish(&home, batch));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn batch_4_settle(bencher: Bencher<'_, '_>) {
    let (home, texts) = batch();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .with_inputs(|| {
            let batch = unit::intend(&home, unit::spool(&home, &texts));
            unit::publish(&home, batch)
        })
        .bench_local_values(|batch| unit::settle(&home, batch));
}

/// The measured functions. They are not inlined, so that they can be found by name.
mod unit {
    use posthole_core::bench::{self, Compared};

    use super::{BoxStream, Home, InNew, InTmp, Listed, OnRecord, PIECE, Runtime, now};

    #[inline(never)]
    pub(super) fn crlf_to_lf(text: &[u8], out: &mut Vec<u8>) {
        bench::to_lf(text.chunks(PIECE), out);
    }

    #[inline(never)]
    pub(super) fn list(runtime: &Runtime, answers: BoxStream) -> Listed {
        let listed = runtime.block_on(bench::list(answers));
        listed.expect("a faultless server")
    }

    #[inline(never)]
    pub(super) fn compare(home: &Home, listed: &Listed) -> Compared {
        home.compare(listed, now()).expect("records")
    }

    #[inline(never)]
    pub(super) fn decide(listed: &Listed, compared: &Compared) -> usize {
        bench::decide(listed, compared, now())
    }

    #[inline(never)]
    pub(super) fn spool(home: &Home, texts: &[Vec<u8>]) -> InTmp {
        home.spool(texts).expect("a disk with room")
    }

    #[inline(never)]
    pub(super) fn intend(home: &Home, batch: InTmp) -> OnRecord {
        home.intend(batch, now()).expect("records")
    }

    #[inline(never)]
    pub(super) fn publish(home: &Home, batch: OnRecord) -> InNew {
        home.publish(batch).expect("a Maildir")
    }

    #[inline(never)]
    pub(super) fn settle(home: &Home, batch: InNew) -> usize {
        home.settle(batch, now()).expect("records")
    }
}

/// An empty Maildir and a batch of mail for it.
fn batch() -> (Home, Vec<Vec<u8>>) {
    let texts = mail::small(256);
    (home(), texts.iter().map(|text| mail::to_lf(text)).collect())
}

/// Records of a mailbox, and its listing some time later.
fn mailbox() -> (Home, Listed) {
    let (home, runtime) = (home(), runtime());
    let before = unit::list(&runtime, answers(1));
    home.assume_delivered(&before, now() - Duration::from_secs(3600))
        .expect("records");
    let later = unit::list(&runtime, answers(1_001));
    (home, later)
}

fn home() -> Home {
    let parent = DIRECTORY.get().expect("set by main");
    let directory = TempDir::new_in(parent).expect("a directory").keep();
    Home::create(&directory).expect("a Maildir and records")
}

/// A server's answers to the opening commands, with 20 000 messages from that number on.
fn answers(first: u32) -> BoxStream {
    use std::fmt::Write as _;

    let (mut uidl, mut list) = (String::new(), String::new());
    for (number, message) in (1u32..).zip(first..).take(LISTED as usize) {
        let size = 2_000 + message % 1_000;
        let _infallible = write!(uidl, "{number} {message:08x}65f2c1d4\r\n");
        let _infallible = write!(list, "{number} {size}\r\n");
    }
    let stat = format!("+OK {LISTED} {}", u64::from(LISTED) * 2_500);
    let rest = format!("+OK\r\n+OK\r\n{stat}\r\n+OK\r\n{uidl}.\r\n+OK\r\n{list}.\r\n");
    Box::new(Answers {
        greeting: Cursor::new("+OK ready\r\n"),
        rest: Cursor::new(rest),
        asked: false,
    })
}

/// A server that greets, and says the rest once it is asked anything.
struct Answers {
    greeting: Cursor<&'static str>,
    rest: Cursor<String>,
    asked: bool,
}

impl AsyncRead for Answers {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let greeted = Pin::new(&mut self.greeting).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            return greeted;
        }
        // Nobody waits before something is written, which comes first.
        if !self.asked {
            return Poll::Pending;
        }
        Pin::new(&mut self.rest).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Answers {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
}

/// A time that is the same in every run.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_000_000)
}

const LISTED: u32 = 20_000;
const PIECE: usize = 32 << 10;
