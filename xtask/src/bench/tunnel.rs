//! The tunnel that the peers go through: OpenSSH's client with a local forwarding for POP3 and one
//! for IMAP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `ssh -N -L`; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    child: Child,
    pop3_port: u16,
    imap_port: Option<u16>,
}

impl Tunnel {
    /// Opens a tunnel with the given `ssh` command, which names the host and how to get in.
    pub(super) fn open(
        ssh: impl Fn() -> Command,
        pop3: SocketAddr,
        imap: Option<SocketAddr>,
    ) -> Result<Self, String> {
        // A port that was free may be taken before ssh binds it; then another is tried.
        for _ in 0..5 {
            let pop3_port = free_port()?;
            let imap_port = imap.map(|_| free_port()).transpose()?;
            let mut command = ssh();
            command.args(["-N", "-o", "ExitOnForwardFailure=yes"]);
            let forwards = [Some((pop3_port, pop3)), imap_port.zip(imap)];
            for (port, target) in forwards.into_iter().flatten() {
                let target = target.port();
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

    fn stands(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.pop3_port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
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

fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|addr| addr.port())
        .map_err(|error| format!("there is no free port: {error}"))
}

const PATIENCE: Duration = Duration::from_secs(20);
