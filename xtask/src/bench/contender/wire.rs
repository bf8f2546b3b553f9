//! The wire: a client that does as little as a client can.
//!
//! It logs in, sends all its commands at once and throws the answers away, so that its time is what
//! the tunnel, the server and the line cost by themselves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use posthole_testkit::real::Dovecot;

/// What the wire asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bench) enum Answers {
    /// All messages, from 1 to this number.
    Retr(usize),
    /// The unique-ids, as a poll without news does.
    Uidl,
    /// The unique-ids and the sizes.
    UidlAndList,
}

impl Answers {
    /// Downloads the answers from a POP3 server on this port; returns how many octets came.
    pub(in crate::bench) fn download(self, port: u16) -> Result<u64, String> {
        self.download_as(Dovecot::USER, port)
    }

    /// Downloads the answers as another user.
    pub(in crate::bench) fn download_as(self, user: &str, port: u16) -> Result<u64, String> {
        self.try_download(user, port)
            .map_err(|error| format!("the wire broke: {error}"))
    }

    fn try_download(self, user: &str, port: u16) -> std::io::Result<u64> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut write = stream.try_clone()?;
        let mut read = BufReader::with_capacity(128 * 1024, stream);
        expect_ok(&mut read)?;
        let password = Dovecot::PASSWORD;
        write.write_all(format!("USER {user}\r\nPASS {password}\r\n").as_bytes())?;
        expect_ok(&mut read)?;
        expect_ok(&mut read)?;

        let mut commands = match self {
            Self::Retr(n) => (1..=n).map(|number| format!("RETR {number}\r\n")).collect(),
            Self::Uidl => "UIDL\r\n".to_owned(),
            Self::UidlAndList => "UIDL\r\nLIST\r\n".to_owned(),
        };
        commands += "QUIT\r\n";
        // From a thread of its own: a server that cannot get rid of its answers stops listening.
        let writer = std::thread::spawn(move || write.write_all(commands.as_bytes()));
        let mut octets = 0;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let n = read.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            octets += n as u64;
        }
        match writer.join() {
            Ok(written) => written.map(|()| octets),
            Err(_) => Err(std::io::Error::other("the writing thread panicked")),
        }
    }
}

fn expect_ok(read: &mut impl BufRead) -> std::io::Result<()> {
    let mut line = String::new();
    read.read_line(&mut line)?;
    if line.starts_with("+OK") {
        Ok(())
    } else {
        let line = line.escape_debug();
        Err(std::io::Error::other(format!("the server says `{line}`")))
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
