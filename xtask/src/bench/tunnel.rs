//! The tunnel that the peers go through: OpenSSH's client with a local forwarding for POP3 and one
//! for IMAP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use posthole_testkit::Home;

/// A running `ssh -N -L`; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    child: Child,
    pop3_port: u16,
    imap_port: Option<u16>,
}

/// Where a tunnel leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// Who goes there: the key and the known hosts are theirs.
    pub(super) home: &'a Home,
    /// Where the SSH server is reached.
    pub(super) entrance: SocketAddr,
    /// Whether SSH compresses.
    pub(super) compressed: bool,
    /// The port of the POP3 server, as the SSH server sees it.
    pub(super) pop3: u16,
    /// The port of the IMAP server.
    pub(super) imap: Option<u16>,
}

impl Tunnel {
    /// Opens a tunnel and waits until it stands.
    pub(super) fn open(way: &Way<'_>) -> Result<Self, String> {
        // A port that was free may be taken before ssh binds it; then another is tried.
        for _ in 0..5 {
            let pop3_port = free_port()?;
            let imap_port = way.imap.map(|_| free_port()).transpose()?;
            let mut command = way.ssh();
            let forwards = [Some((pop3_port, way.pop3)), imap_port.zip(way.imap)];
            for (port, target) in forwards.into_iter().flatten() {
                command.arg(format!("-L127.0.0.1:{port}:localhost:{target}"));
            }
            let child = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| format!("cannot run ssh: {error}"))?;
            let mut tunnel = Self {
                child,
                pop3_port,
                imap_port,
            };
            if tunnel.stands() {
                return Ok(tunnel);
            }
        }
        Err("the tunnel that the peers need does not stand: `ssh -L` ends at once".to_owned())
    }

    /// Where the POP3 server is reached.
    pub(super) fn pop3_port(&self) -> u16 {
        self.pop3_port
    }

    /// Where the IMAP server is reached.
    pub(super) fn imap_port(&self) -> Result<u16, String> {
        self.imap_port
            .ok_or_else(|| "this stage has no IMAP server".to_owned())
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until ssh listens, which it does once it is logged in.
    fn stands(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.pop3_port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Way<'_> {
    /// OpenSSH's client, with no configuration but this.
    fn ssh(&self) -> Command {
        let known_hosts = self.home.known_hosts();
        let mut ssh = self.home.command(Path::new("ssh"));
        ssh.args(["-N", "-F", "none", "-i"])
            .arg(self.home.identity())
            .args(["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
            .args(["-o", "GlobalKnownHostsFile=none"])
            .args(["-p", &self.entrance.port().to_string()]);
        if self.compressed {
            ssh.arg("-C");
        }
        ssh.arg(format!("{}@{}", Home::USER, self.entrance.ip()));
        ssh
    }
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|addr| addr.port())
        .map_err(|error| format!("there is no free port: {error}"))
}

const PATIENCE: Duration = Duration::from_secs(20);
