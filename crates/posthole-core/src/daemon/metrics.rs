//! Numbers for Prometheus: in a file for its node exporter, or over HTTP to this machine.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_local};

use super::Handle;
use super::control::{Reply, Request};
use super::service::Service;
use super::status::{AccountState, ForwardStatus, ServiceStatus, Status};
use crate::plan::Plan;

/// The two ways.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    file: Option<(PathBuf, Running)>,
    listen: Option<(SocketAddr, Running)>,
}

/// A task and how it goes; the task ends when this is dropped.
#[derive(Debug)]
struct Running {
    task: AbortHandle,
    trouble: Trouble,
}

/// What is wrong, if anything is.
type Trouble = Rc<RefCell<Option<String>>>;

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn status(&self, name: String) -> ServiceStatus {
        let trouble = self.trouble.borrow().clone();
        ServiceStatus {
            kind: "metrics".to_owned(),
            name,
            ok: trouble.is_none(),
            text: trouble.unwrap_or_else(|| "works".to_owned()),
            forward: None,
        }
    }
}

impl Service for Metrics {
    fn configure(&mut self, plan: &Plan, handle: &Handle) {
        let (file, listen) = (&plan.daemon.metrics_file, plan.daemon.metrics_listen);
        if self.file.as_ref().map(|(path, _)| path) != file.as_ref() {
            self.file = file.clone().map(|path| {
                let trouble = Trouble::default();
                let task = spawn_local(keep_writing(path.clone(), handle.clone(), trouble.clone()));
                let task = task.abort_handle();
                (path, Running { task, trouble })
            });
        }
        if self.listen.as_ref().map(|(address, _)| *address) != listen {
            self.listen = listen.map(|address| {
                let trouble = Trouble::default();
                let task = spawn_local(keep_listening(address, handle.clone(), trouble.clone()));
                let task = task.abort_handle();
                (address, Running { task, trouble })
            });
        }
    }

    fn status(&self) -> Vec<ServiceStatus> {
        let file = self.file.iter();
        let file = file.map(|(path, running)| running.status(path.display().to_string()));
        let listen = self.listen.iter();
        let listen = listen.map(|(address, running)| running.status(address.to_string()));
        file.chain(listen).collect()
    }
}

async fn numbers(handle: &Handle) -> Option<String> {
    match handle.ask(Request::Status).await {
        Reply::Status { status } => Some(text(&status)),
        _ => None,
    }
}

async fn keep_writing(path: PathBuf, handle: Handle, trouble: Trouble) {
    let mut interval = tokio::time::interval(WRITE_EVERY);
    loop {
        interval.tick().await;
        let Some(text) = numbers(&handle).await else {
            return;
        };
        // A file that does not change would look dead to who watches its age.
        let to = path.clone();
        let outcome = tokio::task::spawn_blocking(move || write(&to, &text)).await;
        let error = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("cannot write {}: {error}", path.display())),
            Err(_) => return,
        };
        note(&trouble, error);
    }
}

/// The exporter must not see half a file, so it takes its place when it is whole.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".posthole")
        // Whoever collects the numbers is another user.
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

async fn keep_listening(address: SocketAddr, handle: Handle, trouble: Trouble) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                note(
                    &trouble,
                    Some(format!("cannot listen at {address}: {error}")),
                );
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
        };
        note(&trouble, None);
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                continue;
            };
            let handle = handle.clone();
            spawn_local(async move {
                // Who is too slow or speaks something else gets no answer.
                tokio::time::timeout(SLOWEST, serve(stream, &handle))
                    .await
                    .ok();
                drop(place);
            });
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Tells about trouble when it comes and when it goes.
fn note(trouble: &Trouble, now: Option<String>) {
    if *trouble.borrow() == now {
        return;
    }
    match &now {
        Some(text) => tracing::error!("metrics: {text}"),
        None => tracing::info!("metrics work again"),
    }
    trouble.replace(now);
}

/// One request of HTTP/1.1 (RFC 9112), and the end of the connection.
async fn serve(mut stream: TcpStream, handle: &Handle) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|octets| octets == b"\r\n\r\n") {
        if request.len() > REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let (status, kind, body) = answer_to(&request, handle).await;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn answer_to(request: &str, handle: &Handle) -> (&'static str, &'static str, String) {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let mut lines = request.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next(), words.next());
    // A page in a browser on this machine can have any name point here, and read what it gets.
    let host = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let is_local = host.is_none_or(|host| {
        let is_address = host.parse::<SocketAddr>().is_ok();
        is_address || host.split(':').next() == Some("localhost")
    });
    match (method, path) {
        _ if !is_local => ("403 Forbidden", PLAIN, "ask by address\n".to_owned()),
        (Some("GET"), Some("/metrics")) => match numbers(handle).await {
            Some(text) => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text),
            None => (
                "503 Service Unavailable",
                PLAIN,
                "the daemon is stopping\n".to_owned(),
            ),
        },
        (Some("GET"), _) => ("404 Not Found", PLAIN, "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", PLAIN, "GET /metrics\n".to_owned()),
    }
}

/// The status as Prometheus reads it (its text format, version 0.0.4).
#[must_use]
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, values: Vec<(String, f64)>| {
        if values.is_empty() {
            return;
        }
        // Writing to a String cannot fail.
        write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
        for (labels, value) in values {
            writeln!(text, "{name}{labels} {value}").ok();
        }
    };
    if let Some(daemon) = &status.daemon {
        let one = |value: f64| vec![(String::new(), value)];
        family(
            "posthole_start_time_seconds",
            "gauge",
            "When the daemon started.",
            one(daemon.since as f64),
        );
        family(
            "posthole_paused",
            "gauge",
            "Whether nothing is polled.",
            one(f64::from(u8::from(daemon.paused.is_some()))),
        );
        family(
            "posthole_config_ok",
            "gauge",
            "Whether the configuration file was understood when it was last read.",
            one(f64::from(u8::from(daemon.config_problem.is_none()))),
        );
        family(
            "posthole_questions",
            "gauge",
            "Passwords and passphrases that are waited for (posthole unlock).",
            one(daemon.questions as f64),
        );
    }
    let accounts = |value: &dyn Fn(&super::status::AccountStatus) -> Option<f64>| {
        let accounts = status.accounts.iter();
        let valued = accounts.filter_map(|account| {
            let label = format!("{{account=\"{}\"}}", escape(&account.account));
            Some((label, value(account)?))
        });
        valued.collect::<Vec<_>>()
    };
    family(
        "posthole_account_up",
        "gauge",
        "Whether the last poll went well.",
        accounts(&|account| {
            account.history.last_attempt?;
            Some(f64::from(u8::from(account.history.failures == 0)))
        }),
    );
    family(
        "posthole_account_stuck",
        "gauge",
        "Whether the account waits for somebody to do something about it.",
        accounts(&|account| Some(f64::from(u8::from(account.state == AccountState::Stuck)))),
    );
    family(
        "posthole_account_last_success_timestamp_seconds",
        "gauge",
        "When a poll went well last.",
        accounts(&|account| account.history.last_success.map(|time| time as f64)),
    );
    family(
        "posthole_account_failures",
        "gauge",
        "Polls that failed since one went well.",
        accounts(&|account| Some(account.history.failures.into())),
    );
    family(
        "posthole_account_messages_on_server",
        "gauge",
        "Messages on the server after the last poll that went well.",
        accounts(&|account| account.history.left.map(|left| left as f64)),
    );
    family(
        "posthole_account_polls_total",
        "counter",
        "Polls.",
        accounts(&|account| Some(account.history.polls as f64)),
    );
    family(
        "posthole_account_fetched_messages_total",
        "counter",
        "Messages fetched.",
        accounts(&|account| Some(account.history.fetched as f64)),
    );
    family(
        "posthole_account_fetched_bytes_total",
        "counter",
        "Their octets.",
        accounts(&|account| Some(account.history.octets as f64)),
    );
    let services = status.services.iter().map(|service| {
        let (kind, name) = (escape(&service.kind), escape(&service.name));
        let labels = format!("{{kind=\"{kind}\",name=\"{name}\"}}");
        (labels, f64::from(u8::from(service.ok)))
    });
    family(
        "posthole_service_up",
        "gauge",
        "Whether what runs beside the polls works.",
        services.collect(),
    );
    let forwards = |value: &dyn Fn(&ForwardStatus) -> u64| {
        let services = status.services.iter();
        let valued = services.filter_map(|service| {
            let label = format!("{{forward=\"{}\"}}", escape(&service.name));
            Some((label, value(service.forward.as_ref()?) as f64))
        });
        valued.collect::<Vec<_>>()
    };
    family(
        "posthole_forward_clients",
        "gauge",
        "Programs that are connected.",
        forwards(&|forward| forward.clients),
    );
    family(
        "posthole_forward_clients_total",
        "counter",
        "Programs that were connected through.",
        forwards(&|forward| forward.served),
    );
    family(
        "posthole_forward_refused_total",
        "counter",
        "Programs that were not let in.",
        forwards(&|forward| forward.refused),
    );
    family(
        "posthole_forward_received_bytes_total",
        "counter",
        "Octets that programs got.",
        forwards(&|forward| forward.received),
    );
    family(
        "posthole_forward_sent_bytes_total",
        "counter",
        "Octets that programs sent.",
        forwards(&|forward| forward.sent),
    );
    text
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

const WRITE_EVERY: Duration = Duration::from_secs(15);
const TRY_AGAIN: Duration = Duration::from_secs(10);
const SLOWEST: Duration = Duration::from_secs(10);
pub(crate) const CONNECTIONS: usize = 16;
pub(crate) const REQUEST: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::status::{AccountStatus, History};
    use super::*;

    #[test]
    fn the_numbers_are_as_prometheus_reads_them() {
        let account = AccountStatus {
            account: "a\"b\\".to_owned(),
            state: AccountState::Stuck,
            next_poll: None,
            history: History {
                last_attempt: Some(200),
                last_success: Some(100),
                failures: 2,
                polls: 7,
                fetched: 3,
                octets: 4096,
                ..History::default()
            },
        };
        let status = Status {
            accounts: vec![account],
            ..Status::default()
        };
        let text = text(&status);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect![[r#"
            posthole_account_up{account="a\"b\\"} 0
            posthole_account_stuck{account="a\"b\\"} 1
            posthole_account_last_success_timestamp_seconds{account="a\"b\\"} 100
            posthole_account_failures{account="a\"b\\"} 2
            posthole_account_polls_total{account="a\"b\\"} 7
            posthole_account_fetched_messages_total{account="a\"b\\"} 3
            posthole_account_fetched_bytes_total{account="a\"b\\"} 4096
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }
}
