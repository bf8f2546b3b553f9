//! Forwards: other mail programs read a mailbox through the program.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use posthole_testkit::home::assert_maildir_holds;
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};
use posthole_testkit::relay::Relay;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Ended, end, posthole, run, through, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "a_mail_program_reads_through_a_forward_until_a_signal",
            needs,
            a_mail_program_reads_through_a_forward_until_a_signal,
        )
        .test(
            "sockets_that_were_passed_are_served",
            needs,
            sockets_that_were_passed_are_served,
        )
        .test(
            "a_socket_of_systemd_is_served",
            &[needs, &[Requirement::SocketActivate]].concat(),
            a_socket_of_systemd_is_served,
        )
        .test(
            "programs_of_other_users_are_not_let_in",
            needs,
            programs_of_other_users_are_not_let_in,
        )
        .test(
            "a_forward_whose_line_dies_resets_its_client_and_goes_on",
            needs,
            a_forward_whose_line_dies_resets_its_client_and_goes_on,
        )
        .test(
            "an_sshd_that_is_killed_and_started_again_is_found_again",
            needs,
            an_sshd_that_is_killed_and_started_again_is_found_again,
        )
        .test(
            "a_taken_port_is_no_mystery",
            needs,
            a_taken_port_is_no_mystery,
        )
        .test(
            "a_forward_that_other_machines_could_reach_must_be_wanted",
            needs,
            a_forward_that_other_machines_could_reach_must_be_wanted,
        )
}

/// The program serving forwards.
pub(crate) struct Serving {
    child: Option<Child>,
    pub(crate) listens: Vec<String>,
}

impl Serving {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        // Octet by octet, so that the rest is there for the end.
        let mut line = Vec::new();
        let mut octet = [0];
        while !line.ends_with(b"\n") && stdout.read(&mut octet).unwrap() > 0 {
            line.extend(octet);
        }
        let line = String::from_utf8(line).unwrap();
        let listens = line
            .split_once(": ")
            .and_then(|(_, rest)| rest.split_once(" leads to "));
        let Some((listens, _)) = listens else {
            panic!("{line}\n{:?}", child.wait_with_output());
        };
        let listens = listens.split(", ").map(str::to_owned).collect();
        let child = Some(child);
        Self { child, listens }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.listens[0]).unwrap()
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self, signal: Signal) -> Ended {
        let child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        end(child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A port of this machine that was free a moment ago.
pub(crate) fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

pub(crate) fn serve(host: &Mailhost, listen: &str, more: &[&str]) -> Serving {
    let (via, to) = (host.via(), format!("localhost:{}", host.dovecot().port()));
    let args = ["forward", listen, "--via", &via, "--to", &to];
    Serving::start(posthole(host.home(), &[&args[..], more].concat()))
}

/// Fetches all mail like a simple mail program.
fn pop3(stream: impl Read + Write) -> Vec<Vec<u8>> {
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    stream.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("+OK"), "{greeting}");
    pop3_greeted(stream)
}

fn pop3_greeted(mut stream: BufReader<impl Read + Write>) -> Vec<Vec<u8>> {
    let line = |stream: &mut BufReader<_>| {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).unwrap();
        line
    };
    let say = |stream: &mut BufReader<_>, command: &str| {
        let writer: &mut _ = BufReader::get_mut(stream);
        Write::write_all(writer, format!("{command}\r\n").as_bytes()).unwrap();
        let answer = String::from_utf8(line(stream)).unwrap();
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
        answer
    };
    say(&mut stream, &format!("USER {}", Mailhost::USER));
    say(&mut stream, &format!("PASS {}", Mailhost::MAIL_PASSWORD));
    let stat = say(&mut stream, "STAT");
    let count: usize = stat.split(' ').nth(1).unwrap().parse().unwrap();
    let mut messages = Vec::new();
    for number in 1..=count {
        say(&mut stream, &format!("RETR {number}"));
        let mut message = Vec::new();
        loop {
            let line = line(&mut stream);
            match &line[..] {
                b".\r\n" => break,
                line => {
                    let line = line.strip_prefix(b".").unwrap_or(line);
                    message.extend(line.strip_suffix(b"\r\n").unwrap());
                    message.push(b'\n');
                }
            }
        }
        messages.push(message);
    }
    say(&mut stream, "QUIT");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    messages
}

/// Checks that these are the messages that are in the mailbox.
fn assert_all(host: &Mailhost, expected: &[Vec<u8>], got: &[Vec<u8>]) {
    let maildir = host.home().path().join("got");
    std::fs::remove_dir_all(&maildir).ok();
    for name in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(maildir.join(name)).unwrap();
    }
    for (number, message) in got.iter().enumerate() {
        std::fs::write(maildir.join("new").join(number.to_string()), message).unwrap();
    }
    assert_maildir_holds(&maildir, expected);
}

fn a_mail_program_reads_through_a_forward_until_a_signal() {
    let messages = mail::corpus(61, 40);
    let host = Mailhost::start(&messages);
    let serving = serve(&host, &free_port(), &[]);
    assert_all(&host, &messages, &pop3(serving.connect()));
    let v6 = serving
        .listens
        .iter()
        .find(|place| place.starts_with("[::1]"));
    if let Some(place) = v6 {
        let stream = TcpStream::connect(place).unwrap();
        assert_all(&host, &messages, &pop3(stream));
    }
    let ended = serving.stop(Signal::TERM);
    let clients = if v6_there(&ended) { 2 } else { 1 };
    ended
        .ends_by(15)
        .prints(&[&format!(": {clients} client"), " received, "]);

    // On a socket, from the configuration.
    let config = format!(
        "[forward.netscape]\nlisten = \"unix:~/pop.sock\"\nvia = \"{}\"\nto = \"localhost:{}\"\n",
        host.via(),
        host.dovecot().port()
    );
    host.home().write_config(&config);
    let socket = host.home().path().join("pop.sock");
    let serving = Serving::start(posthole(host.home(), &["forward", "netscape"]));
    let stream = UnixStream::connect(&socket).unwrap();
    assert_all(&host, &messages, &pop3(stream));
    serving
        .stop(Signal::INT)
        .ends_by(2)
        .prints(&["netscape: 1 client, "]);
    assert!(!socket.exists());
    run(host.home(), &["forward", "nettscape"])
        .exits(78)
        .says(&[
            "there is no forward `nettscape`",
            "did you mean `netscape`?",
        ]);
}

fn v6_there(ended: &Ended) -> bool {
    ended.stdout.contains(": 2 clients")
}

fn sockets_that_were_passed_are_served() {
    let messages = mail::corpus(62, 5);
    let host = Mailhost::start(&messages);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    // What systemd does: the socket is descriptor 3, and the variables name the process.
    let program = posthole(host.home(), &[]);
    let mut command = posthole(host.home(), &[]);
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 0</dev/null";
    let to = format!("localhost:{}", host.dovecot().port());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(program.get_program());
    shell.args(["forward", "systemd", "--via", &host.via(), "--to", &to]);
    shell
        .env_clear()
        .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    shell.current_dir(host.home().path()).process_group(0);
    shell.stdin(std::os::fd::OwnedFd::from(listener));
    command.stdin(Stdio::null());
    let serving = Serving::start(shell);
    assert_eq!(serving.listens, [place.to_string()]);
    assert_all(&host, &messages, &pop3(serving.connect()));
    serving.stop(Signal::TERM).ends_by(15);
}

fn a_socket_of_systemd_is_served() {
    let host = Mailhost::start(mail::corpus(7, 2));
    let to = format!("localhost:{}", host.dovecot().port());
    let socket = host.home().path().join("passed.sock");
    let inner = posthole(host.home(), &[]);
    let mut command = {
        let environment: Vec<_> = inner
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let mut command = Command::new("systemd-socket-activate");
        command.env_clear().envs(environment.iter().cloned());
        // It passes on nothing but what it is told to.
        for (name, _) in &environment {
            command.arg("-E").arg(name);
        }
        command.current_dir(host.home().path());
        command
    };
    command.arg("-l").arg(&socket).arg(inner.get_program());
    command.args(["forward", "systemd", "--via", &host.via()]);
    command.args(["--to", &to, "--protocol", "pop3"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stream = None;
    wait_until("it listens", || {
        stream = UnixStream::connect(&socket).ok();
        stream.is_some()
    });
    let mut client = BufReader::new(stream.unwrap());
    let mut greeting = String::new();
    client.read_line(&mut greeting).unwrap();
    if !greeting.starts_with("+OK") {
        child.kill().unwrap();
        panic!("{greeting:?} {}", end(child).text());
    }
    assert_eq!(pop3_greeted(client).len(), 2);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    end(child).ends_by(15);
}

fn programs_of_other_users_are_not_let_in() {
    // Only root can be somebody else.
    if !rustix::process::getuid().is_root() {
        return;
    }
    let host = Mailhost::start(mail::corpus(63, 1));
    let somebody = |place: &str| {
        let (ip, port) = place.rsplit_once(':').unwrap();
        let script = format!("exec 3<>/dev/tcp/{ip}/{port} && head -c 3 <&3");
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .uid(65534)
            .gid(65534)
            .current_dir("/");
        String::from_utf8(bash.output().unwrap().stdout).unwrap()
    };
    let serving = serve(&host, &free_port(), &["--protocol", "pop3"]);
    assert_eq!(somebody(&serving.listens[0]), "-ER");
    assert_eq!(pop3(serving.connect()).len(), 1, "it goes on for others");
    let ended = serving.stop(Signal::TERM);
    ended.says(&["not let in: a client of user 65534"]);
    ended.prints(&["1 not let in"]);

    let serving = serve(&host, &free_port(), &["--allow", "any"]);
    assert_eq!(somebody(&serving.listens[0]), "+OK");
    serving.stop(Signal::TERM);
}

fn a_forward_whose_line_dies_resets_its_client_and_goes_on() {
    let host = Mailhost::start([mail::corpus(64, 1).remove(0), vec![b'x'; 4 << 20]]);
    let relay = Relay::to(host.sshd().addr())
        .cut_to_client(1_000_000)
        .start();
    let via = through(&host, &relay);
    let to = format!("localhost:{}", host.dovecot().port());
    let args = ["forward", &free_port(), "--via", &via, "--to", &to];
    let serving = Serving::start(posthole(host.home(), &args));
    let mut stream = serving.connect();
    let login = format!(
        "USER {}\r\nPASS {}\r\nRETR 1\r\nRETR 2\r\n",
        Mailhost::USER,
        Mailhost::MAIL_PASSWORD
    );
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).unwrap();
    // The next connection may live.
    relay.cut_to_client(None);
    stream.write_all(login.as_bytes()).unwrap();
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut stream = serving.connect();
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"+OK");
    let ended = serving.stop(Signal::TERM);
    ended.says(&["a client was cut off: lost the SSH connection to "]);
}

fn an_sshd_that_is_killed_and_started_again_is_found_again() {
    let mut host = Mailhost::start(mail::corpus(67, 3));
    let serving = serve(&host, &free_port(), &["--protocol", "pop3"]);
    for _ in 0..3 {
        let mut open = BufReader::new(serving.connect());
        let mut greeting = String::new();
        open.read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("+OK"), "{greeting}");
        host.sshd_mut().restart();
        let error = open.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(pop3(serving.connect()).len(), 3);
    }
    let ended = serving.stop(Signal::TERM);
    ended.says(&["a client was cut off: lost the SSH connection to "]);
    ended.prints(&["6 clients"]);
}

fn a_taken_port_is_no_mystery() {
    let host = Mailhost::start(mail::corpus(65, 1));
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port().to_string();
    let to = format!("localhost:{}", host.dovecot().port());
    let args = ["forward", &port, "--via", &host.via(), "--to", &to];
    let us = format!("(process {})", std::process::id());
    run(host.home(), &args).exits(74).says(&[
        &format!("127.0.0.1:{port} is taken by "),
        &us,
        "hint: ",
    ]);
}

fn a_forward_that_other_machines_could_reach_must_be_wanted() {
    let host = Mailhost::start(mail::corpus(66, 1));
    let place = format!("0.0.0.0:{}", free_port());
    let to = format!("localhost:{}", host.dovecot().port());
    let args = ["forward", &place, "--via", &host.via(), "--to", &to];
    run(host.home(), &args)
        .exits(78)
        .says(&["can be reached from other machines", "--allow any"]);
    let serving = serve(&host, &place, &["--allow", "any"]);
    wait_until("somebody is served", || {
        TcpStream::connect(&serving.listens[0]).is_ok()
    });
    serving
        .stop(Signal::TERM)
        .says(&["everybody who can reach"]);
}
