//! A command that looks at the header of each new message and says what is to be done with it.
//!
//! Headers are asked for with TOP, a few at a time, and the command is run for those side by side.
//! Its exit codes are not the small ones that a script dies with by itself, because one of them
//! has a message deleted.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use posthole_proto::pop3::{CommandKind, Event as Pop3Event};
use posthole_proto::text::clean;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::entry::Entered;
use super::{MessageFailure, blocking};
use crate::deliver::{LocalUser, finish_lf, sender_of, to_lf};
use crate::error::Error;
use crate::exec;
use crate::plan::Filter;
use crate::policy::Decisions;
use crate::process_group::ProcessGroup;
use crate::session::{Listing, MessageRef, Session, SessionError};

/// What a filter made of the messages that were to be fetched.
#[derive(Debug, Default)]
pub(super) struct Filtered {
    /// Messages that stay on the server.
    pub(super) left: Vec<u32>,
    /// Messages that nobody decided about; they stay.
    pub(super) failed: Vec<MessageFailure>,
}

/// Why a filter could not be asked to the end.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: Error,
    /// The message whose header was due when the session broke.
    pub(super) message: Option<MessageRef>,
}

/// Asks a filter about what is to be fetched, until that is as much as may be fetched, and changes
/// what was decided.
pub(super) async fn ask(
    filter: &Filter,
    entered: &mut Entered,
    most: Option<u32>,
    stop: &CancellationToken,
    decisions: &mut Decisions,
) -> Result<Filtered, Broken> {
    let Entered {
        session,
        listing,
        pipelined,
        ..
    } = entered;
    let mut filtered = Filtered::default();
    let name = filter.user.clone();
    let user = blocking(move || LocalUser::find(name.as_deref())).await;
    let user = user.map_err(|error| Broken {
        error,
        message: None,
    })?;
    let filter = Arc::new((filter.clone(), user));
    let most = most.map_or(usize::MAX, |most| most as usize);
    for list in [Which::Fetch, Which::Suspects] {
        let undecided = std::mem::take(list.of(decisions));
        // One that breaks the session must not do so for others, who come first.
        if matches!(list, Which::Suspects) && !decisions.fetch.is_empty() {
            break;
        }
        let at_once = match list {
            Which::Fetch => SIDE_BY_SIDE,
            Which::Suspects => 1,
        };
        for some in undecided.chunks(at_once) {
            let room = most.saturating_sub(decisions.fetch.len() + decisions.suspects.len());
            if room == 0 {
                break;
            }
            let ahead = if *pipelined { at_once } else { 1 };
            let headers = headers(session, listing, some, ahead).await?;
            // Dropped, it ends the commands.
            let mut runs = JoinSet::new();
            for (message, header) in headers {
                let (filter, size) = (Arc::clone(&filter), listing.size(message.idx));
                runs.spawn(async move {
                    let verdict = match header {
                        Ok(header) => {
                            let (filter, user) = &*filter;
                            run(filter, user, &header, size).await
                        }
                        Err(reason) => Verdict::Unknown(reason),
                    };
                    (message, verdict)
                });
            }
            let mut verdicts = tokio::select! {
                verdicts = runs.join_all() => verdicts,
                () = stop.cancelled() => return Err(Broken { error: Error::Stopped, message: None }),
            };
            verdicts.sort_by_key(|(message, _)| some.iter().position(|idx| *idx == message.idx));
            let mut room = room;
            for (message, verdict) in verdicts {
                match verdict {
                    Verdict::Fetch if room == 0 => {}
                    Verdict::Fetch => {
                        room -= 1;
                        list.of(decisions).push(message.idx);
                    }
                    Verdict::Leave => filtered.left.push(message.idx),
                    Verdict::Delete => decisions.discard.push(message.idx),
                    Verdict::Unknown(reason) => filtered.failed.push(MessageFailure {
                        uid: listing.shown_uid(message.idx),
                        reason,
                    }),
                }
            }
        }
    }
    Ok(filtered)
}

#[derive(Clone, Copy)]
enum Which {
    Fetch,
    Suspects,
}

impl Which {
    fn of(self, decisions: &mut Decisions) -> &mut Vec<u32> {
        match self {
            Self::Fetch => &mut decisions.fetch,
            Self::Suspects => &mut decisions.suspects,
        }
    }
}

/// Messages with their headers, or why there is none.
type Headers = Vec<(MessageRef, Result<Vec<u8>, String>)>;

/// Gets the headers of some messages, with LF line ends, or why there is none.
pub(super) async fn headers(
    session: &mut Session,
    listing: &Listing,
    some: &[u32],
    ahead: usize,
) -> Result<Headers, Broken> {
    let mut asked = VecDeque::new();
    let broken = |error: SessionError, asked: &VecDeque<MessageRef>| Broken {
        error: error.into(),
        message: asked.front().copied(),
    };
    let mut waiting = some.iter();
    let mut headers = Vec::with_capacity(some.len());
    let (mut header, mut held_cr) = (Vec::new(), false);
    loop {
        while session.in_flight() < ahead
            && let Some(&idx) = waiting.next()
        {
            let message = listing.message(idx);
            session
                .top(message)
                .map_err(|error| broken(error, &asked))?;
            asked.push_back(message);
        }
        if asked.is_empty() {
            return Ok(headers);
        }
        let exchanged = session.exchange().await;
        exchanged.map_err(|error| broken(error, &asked))?;
        while !session.is_drained() {
            match session.event().map_err(|error| broken(error, &asked))? {
                Some(Pop3Event::Body(text)) if header.len() < HEADER_LIMIT => {
                    to_lf(text, &mut held_cr, &mut header);
                }
                Some(Pop3Event::End {
                    command: CommandKind::Top(..),
                }) => {
                    finish_lf(&mut held_cr, &mut header);
                    header.truncate(HEADER_LIMIT);
                    held_cr = false;
                    let header = std::mem::take(&mut header);
                    headers.extend(asked.pop_front().map(|message| (message, Ok(header))));
                }
                Some(Pop3Event::Rejected {
                    command: CommandKind::Top(..),
                    text,
                    ..
                }) => {
                    let reason = format!(
                        "the server did not show its header, which `filter` is to see: {text}"
                    );
                    headers.extend(asked.pop_front().map(|message| (message, Err(reason))));
                }
                _ => {}
            }
        }
    }
}

/// What is to be done with a message.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Delete,
    Fetch,
    Leave,
    /// Why nobody can tell.
    Unknown(String),
}

async fn run(filter: &Filter, user: &LocalUser, header: &[u8], size: u64) -> Verdict {
    match tokio::time::timeout(filter.timeout, judge(filter, user, header, size)).await {
        Ok(Ok((status, said))) => verdict(filter, status, &said),
        Ok(Err(error)) => Verdict::Unknown(format!("`{filter}` could not be run: {error}")),
        Err(_elapsed) => Verdict::Unknown(format!(
            "`{filter}` took longer than {} and was killed",
            humantime::format_duration(filter.timeout)
        )),
    }
}

fn verdict(filter: &Filter, status: ExitStatus, said: &str) -> Verdict {
    match status.code() {
        Some(FETCH) => Verdict::Fetch,
        Some(LEAVE) => Verdict::Leave,
        Some(DELETE) => Verdict::Delete,
        Some(code) => Verdict::Unknown(format!(
            "`{filter}` ended with exit code {code}, which is none of {FETCH} (fetch), {LEAVE} \
             (leave) and {DELETE} (delete){said}"
        )),
        None => Verdict::Unknown(format!(
            "`{filter}` did not come to its end ({status}){said}"
        )),
    }
}

/// Runs the command to its end; also returns what it complained of.
///
/// It is killed with all that it started when this is dropped.
async fn judge(
    filter: &Filter,
    user: &LocalUser,
    header: &[u8],
    size: u64,
) -> io::Result<(ExitStatus, String)> {
    let argv = argv(&filter.command, header, size);
    let environment = user.environment(&filter.environment);
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let program = OsStr::new(&argv[0]);
    exec::find(program, path.map(|(_, path)| path.as_os_str()))?;
    let mut command = exec::program(program);
    command
        .args(&argv[1..])
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = user.spawn(command, &Handle::current())?;
    let group = ProcessGroup::of(&child);
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let talk = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // One that has seen enough need not read all of it.
                stdin.write_all(header).await.ok();
            }
        };
        let mut complaints = Vec::new();
        let read = async {
            if let Some(mut stderr) = stderr {
                let mut first = (&mut stderr).take(COMPLAINTS_LIMIT);
                first.read_to_end(&mut complaints).await.ok();
                tokio::io::copy(&mut stderr, &mut tokio::io::sink())
                    .await
                    .ok();
            }
        };
        tokio::join!(write, read);
        complaints
    };
    tokio::pin!(talk);
    let (status, complaints) = tokio::select! {
        biased;
        complaints = &mut talk => (child.wait().await?, complaints),
        status = child.wait() => {
            // Something in the background may hold its standard error open.
            let rest = tokio::time::timeout(LAST_READ, talk).await;
            (status?, rest.unwrap_or_default())
        }
    };
    group.leave_alone();
    let said = clean(&complaints).replace('\u{fffd}', " ");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(SHOWN_CHARS).collect();
    let said = match said.as_str() {
        "" => said,
        _ => format!(": {said}"),
    };
    Ok((status, said))
}

/// Puts sender and size into the words of the command.
fn argv(template: &[String], header: &[u8], size: u64) -> Vec<String> {
    let expand = |word: &String| {
        let mut expanded = String::with_capacity(word.len());
        let mut rest = word.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            expanded.push_str(before);
            rest = after;
            let value = match after.chars().next() {
                Some('%') => "%".to_owned(),
                Some('F') => sender_of(header),
                Some('S') => size.to_string(),
                _ => {
                    expanded.push('%');
                    continue;
                }
            };
            expanded.push_str(&value);
            rest = &after[1..];
        }
        expanded.push_str(rest);
        expanded
    };
    template.iter().map(expand).collect()
}

const FETCH: i32 = 0;
const LEAVE: i32 = 10;
const DELETE: i32 = 11;

/// How many commands run at a time, and headers wait for them.
pub(super) const SIDE_BY_SIDE: usize = 8;

/// More header than anybody looks at.
pub(crate) const HEADER_LIMIT: usize = 256 << 10;

const COMPLAINTS_LIMIT: u64 = 4096;
const SHOWN_CHARS: usize = 300;

/// How long standard error is read after the end, while something else holds it open.
const LAST_READ: std::time::Duration = std::time::Duration::from_millis(200);
