//! Postfix as an SMTP server that delivers into Maildirs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::program;
use crate::home;

/// A real Postfix on a loopback port, which takes mail for everybody at `localhost` and sends none
/// anywhere else.
///
/// Its daemons run as users of their own, so it needs root.
#[derive(Debug)]
pub struct Postfix {
    // Before the directory, so that the daemon ends first.
    _daemon: Daemon,
    addr: SocketAddr,
    dir: TempDir,
}

impl Postfix {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it does not start, or [`Requirement::Postfix`](super::Requirement::Postfix) is missing.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts it with more lines in its main.cf.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with(options: &str) -> Self {
        let dir = daemon::shared_dir("ph-postfix-");
        let path = dir.path();
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir(path.join(name)).expect("the directory can be written to");
        }
        let (uid, gid) = daemon::mail_owner();
        chown(path.join("mail"), Some(uid), Some(gid)).expect("root may give files away");
        let owner = id_of("postfix");
        chown(path.join("data"), Some(owner), None).expect("as above");
        let conf = path.join("conf");
        fs::write(conf.join("main.cf"), main_cf(path, (uid, gid)) + options).expect("as above");
        let (daemon, port) = daemon::with_free_port("postfix", |port| {
            fs::write(conf.join("master.cf"), master_cf(port)).expect("as above");
            // Makes the folders of the queue.
            let checked = Command::new(program("postfix"))
                .arg("-c")
                .arg(&conf)
                .arg("check")
                .output()
                .expect("postfix can be run");
            let said = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "postfix check: {said}");
            let mut command = Command::new(master().expect("postfix is installed"));
            command.arg("-c").arg(&conf).arg("-d");
            let mut daemon = Daemon::start("postfix", &mut command, &path.join("log"));
            if daemon.wait_until(|| greets(port)) {
                Ok((daemon, port))
            } else {
                Err(daemon.log_text())
            }
        });
        Self {
            _daemon: daemon,
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            dir,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The messages that a user has got, with the header fields that Postfix has put in front,
    /// sorted; waits until there are so many.
    ///
    /// # Panics
    ///
    /// When they do not come.
    #[must_use]
    pub fn messages(&self, user: &str, count: usize) -> Vec<Vec<u8>> {
        let maildir = self.dir.path().join("mail").join(user);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let messages = home::maildir_messages(&maildir);
            if messages.len() >= count {
                return messages;
            }
            assert!(
                Instant::now() < deadline,
                "{} messages of {count} came",
                messages.len()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The daemon that starts all others.
pub(super) fn master() -> Option<PathBuf> {
    let dirs = [
        "/usr/lib/postfix/sbin",
        "/usr/libexec/postfix",
        "/usr/lib/postfix",
    ];
    let files = dirs.map(|dir| Path::new(dir).join("master"));
    files.into_iter().find(|file| file.is_file())
}

fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("the time is not zero");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.contains("testkit.example")
}

fn id_of(user: &str) -> u32 {
    let output = Command::new("id").arg("-u").arg(user).output();
    let output = output.expect("`id` can be run").stdout;
    let id = String::from_utf8_lossy(&output).trim().parse();
    id.unwrap_or_else(|_| panic!("there is no user {user}"))
}

fn main_cf(dir: &Path, (uid, gid): (u32, u32)) -> String {
    let daemons = master().expect("postfix is installed");
    let daemons = daemons
        .parent()
        .expect("a file is in a directory")
        .display();
    let dir = dir.display();
    format!(
        "compatibility_level = 3.6\n\
         queue_directory = {dir}/queue\n\
         data_directory = {dir}/data\n\
         daemon_directory = {daemons}\n\
         command_directory = /usr/sbin\n\
         mail_owner = postfix\n\
         setgid_group = postdrop\n\
         myhostname = testkit.example\n\
         mydestination =\n\
         local_recipient_maps =\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\n\
         alias_maps =\n\
         alias_database =\n\
         maillog_file = {dir}/log\n\
         maillog_file_prefixes = {dir}\n\
         virtual_mailbox_domains = localhost\n\
         virtual_mailbox_base = {dir}/mail\n\
         virtual_mailbox_maps = static:msingh/\n\
         virtual_uid_maps = static:{uid}\n\
         virtual_gid_maps = static:{gid}\n\
         local_header_rewrite_clients =\n\
         smtpd_peername_lookup = no\n\
         default_transport = error:no mail leaves this machine\n"
    )
}

fn master_cf(port: u16) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd\n\
         pickup unix n - n 60 1 pickup\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         proxymap unix - - n - - proxymap\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         error unix - - n - - error\n\
         virtual unix - n n - - virtual\n\
         anvil unix - - n - 1 anvil\n\
         showq unix n - n - - showq\n\
         postlog unix-dgram n - n - 1 postlogd\n"
    )
}

const PATIENCE: Duration = Duration::from_secs(60);
