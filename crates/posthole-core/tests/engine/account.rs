//! One account on a server in process, and the disk its mail goes to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use posthole_core::ask::{Ask, Nobody};
use posthole_core::error::Error;
use posthole_core::plan::{
    Auth, DeliverTo, Edits, HostPort, Job, Keep, PasswordSource, Route, Select, Tls,
};
use posthole_core::progress::Silent;
use posthole_core::record::Records;
use posthole_core::retrieve::{self, BatchLimits, Context, Preview, Report, Summary};
use posthole_core::session::Doubts;
use posthole_core::tunnel::Tunnels;
use posthole_testkit::mail;
use posthole_testkit::pop3::{self, Faults, Maildrop, Pop3Server};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// An account, its server and its disk.
pub(crate) struct Account {
    pub(crate) server: Pop3Server,
    pub(crate) maildrop: Maildrop,
    pub(crate) job: Job,
    pub(crate) stop: CancellationToken,
    pub(crate) batch: BatchLimits,
    directory: TempDir,
}

impl Account {
    /// An account that deletes what it fetched, with these messages on its server.
    pub(crate) fn with(messages: &[Vec<u8>], faults: Faults) -> Self {
        Self::on(messages, |server| server.faults(faults))
    }

    /// The same, on a server that is changed before it starts.
    pub(crate) fn on(
        messages: &[Vec<u8>],
        change: impl FnOnce(pop3::Builder) -> pop3::Builder,
    ) -> Self {
        let maildrop = Maildrop::of(messages.to_vec());
        let server = Pop3Server::builder()
            .account("msingh", "secret", &maildrop)
            .gather(Duration::from_millis(2));
        let server = change(server).start();
        let directory = TempDir::new().unwrap();
        let job = job(directory.path(), server.port());
        let stop = CancellationToken::new();
        Self {
            server,
            maildrop,
            job,
            stop,
            batch: BatchLimits::default(),
            directory,
        }
    }

    pub(crate) fn keep(mut self, keep: Keep) -> Self {
        self.job.keep = keep;
        self
    }

    pub(crate) fn auth(mut self, auth: &str) -> Self {
        self.job.auth = auth.parse().unwrap();
        self
    }

    pub(crate) fn password(mut self, password: &str) -> Self {
        self.job.password = PasswordSource::Given {
            origin: "the test".to_owned(),
            secret: SecretString::from(password),
        };
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.job.timeout = timeout;
        self
    }

    pub(crate) fn context(&self) -> Context {
        context(self.directory(), self.stop.clone(), self.batch)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn maildir(&self) -> PathBuf {
        self.directory.path().join("Mail")
    }

    /// Polls once.
    pub(crate) async fn poll(&self) -> Report {
        retrieve::poll(&self.job, &self.context()).await
    }

    /// Polls once, which must succeed.
    pub(crate) async fn fetch(&self) -> Summary {
        let report = self.poll().await;
        if let Some(error) = report.error {
            panic!("the poll failed: {}", chain(&error));
        }
        report.summary
    }

    pub(crate) async fn preview(&self) -> Result<Preview, Error> {
        retrieve::preview(&self.job, &self.context()).await
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        retrieve::check(&self.job, &self.context()).await
    }

    /// The messages in `new/` and `cur/`, sorted.
    pub(crate) fn delivered(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for folder in ["new", "cur"] {
            let Ok(entries) = std::fs::read_dir(self.maildir().join(folder)) else {
                continue;
            };
            found.extend(entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()));
        }
        found.sort();
        found
    }

    /// How many files are in `tmp/`.
    pub(crate) fn in_tmp(&self) -> usize {
        std::fs::read_dir(self.maildir().join("tmp")).map_or(0, Iterator::count)
    }

    /// Requires that exactly these messages were delivered, each once and whole.
    #[track_caller]
    pub(crate) fn assert_delivered(&self, messages: &[Vec<u8>]) {
        let (found, expected) = (self.delivered(), mail::delivered_sorted(messages));
        assert_eq!(
            found.len(),
            expected.len(),
            "how many messages were delivered"
        );
        assert!(found == expected, "a message was changed on the way");
        assert_eq!(self.in_tmp(), 0, "files left in tmp");
    }
}

/// The account `work` at a port of this machine, delivering below a directory.
pub(crate) fn job(directory: &Path, port: u16) -> Job {
    Job {
        account: "work".to_owned(),
        mailbox: "pop3:msingh@localhost".to_owned(),
        user: "msingh".to_owned(),
        server: HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        },
        route: Route::Direct,
        auth: Auth::Auto,
        password: PasswordSource::Given {
            origin: "the test".to_owned(),
            secret: SecretString::from("secret"),
        },
        keep: Keep::Never,
        select: Select::default(),
        every: Duration::from_secs(300),
        filter: None,
        edits: Edits::default(),
        multidrop: None,
        timeout: Duration::from_secs(20),
        max_size: 1 << 30,
        deliver: vec![DeliverTo::Maildir(directory.join("Mail"))],
        allow_plaintext: false,
        tls: Tls::never("127.0.0.1"),
    }
}

/// What a poll needs besides its job, with the records below a directory.
pub(crate) fn context(directory: &Path, stop: CancellationToken, batch: BatchLimits) -> Context {
    let ask: Arc<dyn Ask> = Arc::new(Nobody);
    let observer = Arc::new(Silent);
    Context {
        tunnels: Arc::new(Tunnels::new(Arc::clone(&ask), observer.clone())),
        ask,
        observer,
        trust_stores: Arc::default(),
        records: Records::open(&directory.join("state")).unwrap(),
        stop,
        doubts: Doubts::default(),
        batch,
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
