//! The program as fetchmail: the HOWTO's own files, fetchmail's exit codes, its daemon, and the mail
//! that fetchmail itself would have fetched.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use posthole_testkit::keys::KeyFormat;
use posthole_testkit::real::{Dovecot, Mailhost, Requirement, Suite};
use posthole_testkit::smtp::{Reply, SmtpServer};
use posthole_testkit::{Home, Terminal, mail};

use crate::world::{BIN, Ended, end, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    let mailhost = Requirement::MAILHOST;
    let dovecot = &[Requirement::Dovecot, Requirement::NssWrapper];
    suite
        .test(
            "the_files_of_the_howto_run_unchanged",
            &[mailhost, &[Requirement::SshAgent]].concat(),
            the_files_of_the_howto_run_unchanged,
        )
        .test(
            "a_plugin_of_ssh_is_a_tunnel",
            mailhost,
            a_plugin_of_ssh_is_a_tunnel,
        )
        .test("a_plugin_is_run", dovecot, a_plugin_is_run)
        .test(
            "commands_are_run_before_and_after",
            dovecot,
            commands_are_run_before_and_after,
        )
        .test(
            "a_daemon_hears_its_commands_and_ends_them",
            dovecot,
            a_daemon_hears_its_commands_and_ends_them,
        )
        .test(
            "exit_codes_are_fetchmails",
            dovecot,
            exit_codes_are_fetchmails,
        )
        .test(
            "what_fetchmail_has_seen_is_seen",
            dovecot,
            what_fetchmail_has_seen_is_seen,
        )
        .test(
            "a_password_is_in_netrc_or_typed",
            dovecot,
            a_password_is_in_netrc_or_typed,
        )
        .test(
            "a_daemon_is_woken_and_ended",
            dovecot,
            a_daemon_is_woken_and_ended,
        )
        .test(
            "an_agent_gets_what_fetchmail_gives_it",
            &[dovecot, &[Requirement::Fetchmail][..]].concat(),
            an_agent_gets_what_fetchmail_gives_it,
        )
        .test(
            "what_was_kept_stays_when_keep_is_gone",
            dovecot,
            what_was_kept_stays_when_keep_is_gone,
        )
        .test(
            "what_is_refused_for_good_is_bounced_if_it_may_not_stay",
            dovecot,
            what_is_refused_for_good_is_bounced_if_it_may_not_stay,
        )
        .test(
            "a_daemon_says_by_mail_what_is_too_large",
            dovecot,
            a_daemon_says_by_mail_what_is_too_large,
        )
        .test(
            "an_interface_decides_whether_a_server_is_polled",
            dovecot,
            an_interface_decides_whether_a_server_is_polled,
        )
}

/// The program by the name `fetchmail`, first in the path.
pub(crate) fn command(home: &Home, program: &Path) -> Command {
    let bin = home.path().join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        symlink(BIN, bin.join("fetchmail")).unwrap();
    }
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = home.command_as_user(program);
    command.env("PATH", path);
    command
}

fn start(home: &Home, args: &[&str]) -> Child {
    let mut command = command(home, &home.path().join("bin/fetchmail"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Runs it to its end.
#[track_caller]
fn fetchmail(home: &Home, args: &[&str]) -> Ended {
    end(start(home, args))
}

fn write(home: &Home, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = home.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// An rc file for a Dovecot on this machine, whose lock is where nobody else's is.
fn write_rcfile(home: &Home, dovecot: &Dovecot, options: &str) {
    let pidfile = home.path().join("pid");
    let text = format!(
        "set pidfile '{}'\n\
         poll 127.0.0.1 proto pop3 service {}\n\
         user {} pass '{}'\n{options}\n",
        pidfile.display(),
        dovecot.port(),
        Dovecot::USER,
        Dovecot::PASSWORD,
    );
    write(home, ".fetchmailrc", &text, 0o600);
}

/// An agent that puts each message into a file of its own.
fn agent(home: &Home) -> String {
    let dir = home.path().join("agent");
    fs::create_dir_all(&dir).unwrap();
    format!("mda 'cat > $(mktemp {}/XXXXXX)'", dir.display())
}

fn agents_mail(home: &Home) -> Vec<Vec<u8>> {
    let files = fs::read_dir(home.path().join("agent")).unwrap();
    let mut texts: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    texts.sort();
    texts
}

fn the_files_of_the_howto_run_unchanged() {
    let messages = mail::small(20);
    let host = Mailhost::start(&messages);
    let home = host.home();
    let smtp = SmtpServer::start();
    home.write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    let port = host.sshd().port();
    home.write_known_hosts(&format!("{}\n", host.sshd().known_hosts_line("127.0.0.1")));
    home.write_ssh_config(&format!(
        "Host popserver\nHostName 127.0.0.1\nPort {port}\nHashKnownHosts no\n"
    ));
    // Only the port of the server, and where the mail goes, are this machine's.
    let pop_port = host.dovecot().port();
    let rcfile = format!(
        "defaults\n\
         user msingh is manish\n\
         no rewrite\n\
         poll localhost with protocol pop3 and port 11110:\n\
         preconnect \"ssh -C -f msingh@popserver -L 11110:localhost:{pop_port} sleep 5\"\n\
         password '{}';\n\
         smtphost 127.0.0.1/{}\n\
         set pidfile '{}'\n",
        Mailhost::MAIL_PASSWORD,
        smtp.port(),
        home.path().join("pid").display()
    );
    write(home, ".fetchmailrc", &rcfile, 0o600);
    let script = "#!/bin/sh\n\
        ssh-add\n\
        while true; do fetchmail --syslog --invisible; sleep 5m; done\n";
    let script = write(home, "getmail.sh", script, 0o700);
    let mut agent = command(home, Path::new("ssh-agent"));
    // The loader takes away from a program with rights of its own what makes this home that of a
    // user; everything else is as the HOWTO has it.
    let preload = agent
        .get_envs()
        .find_map(|(name, value)| (name == "LD_PRELOAD").then_some(value?.to_owned()));
    let mut setting = std::ffi::OsString::from("LD_PRELOAD=");
    setting.push(preload.unwrap());
    agent.arg("env").arg(setting).arg(&script);
    let mut terminal = Terminal::start(agent);
    terminal.expect("passphrase for");
    terminal.type_line("correct horse");
    terminal.expect("Identity added");
    wait_until("all mail came", || {
        smtp.messages().len() == messages.len() && !home.path().join("pid").exists()
    });
    let (_, screen) = terminal.interrupt();
    assert!(host.dovecot().messages().is_empty(), "{screen}");
    assert!(!screen.contains("hint:"), "{screen}");
    let delivered = smtp.messages();
    assert_eq!(delivered.len(), messages.len(), "{screen}");
    for one in &delivered {
        assert_eq!(one.recipient, "manish@localhost");
    }
    assert!(!host.sshd().log().contains("sleep 5"));
}

fn a_plugin_of_ssh_is_a_tunnel() {
    let messages = mail::small(5);
    let host = Mailhost::start(&messages);
    let home = host.home();
    let rcfile = format!(
        "set pidfile '{}'\n\
         poll localhost proto pop3 service {}\n\
         plugin \"ssh -p {} msingh@127.0.0.1 nc %h %p\"\n\
         user msingh pass '{}' {}\n",
        home.path().join("pid").display(),
        host.dovecot().port(),
        host.sshd().port(),
        Mailhost::MAIL_PASSWORD,
        agent(home),
    );
    write(home, ".fetchmailrc", &rcfile, 0o600);
    // The user of that host has no shell, and so no `nc`.
    fetchmail(home, &["-v"]).says(&["becomes a tunnel of our own through msingh@127.0.0.1"]);
    assert_eq!(agents_mail(home).len(), messages.len());
    assert!(host.dovecot().messages().is_empty());
}

fn a_plugin_is_run() {
    let messages = mail::small(3);
    let dovecot = Dovecot::start(&messages);
    let home = Home::new();
    let relay = write(&home, "relay.py", RELAY, 0o600);
    let smtp = SmtpServer::start();
    let text = format!(
        "set pidfile '{}'\n\
         poll 127.0.0.1 proto pop3 service {} plugin 'python3 {} %h %p' plugout 'python3 {} %h %p'\n\
         user {} pass '{}' smtphost 127.0.0.1/{}\n",
        home.path().join("pid").display(),
        dovecot.port(),
        relay.display(),
        relay.display(),
        Dovecot::USER,
        Dovecot::PASSWORD,
        smtp.port(),
    );
    write(&home, ".fetchmailrc", &text, 0o600);
    command(&home, Path::new("true")).status().unwrap();
    fetchmail(&home, &["-s"]).exits(0);
    assert_eq!(smtp.messages().len(), messages.len());
    assert_eq!(smtp.breaches(), Vec::<String>::new());
    dovecot.add(&mail::tiny(9));
    for (broken, words, code) in [
        ("plugin 'python3", "cannot start the plugin", 2),
        ("plugout 'python3", "cannot start the plugin", 10),
    ] {
        let (option, _) = broken.split_once(' ').unwrap();
        let text = text.replace(broken, &format!("{option} '/nonexistent/program"));
        write(&home, ".fetchmailrc", &text, 0o600);
        fetchmail(&home, &[]).exits(code).says(&[words]);
    }
    assert_eq!(dovecot.messages().len(), 1);
}

/// A program that connects its standard input and output to a host and a port.
const RELAY: &str = "import os, socket, sys, threading\n\
        to = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
        def pump():\n\
        \x20   while data := os.read(0, 65536): to.sendall(data)\n\
        threading.Thread(target=pump, daemon=True).start()\n\
        while data := to.recv(65536): os.write(1, data)\n";

fn what_was_kept_stays_when_keep_is_gone() {
    let messages = mail::small(3);
    let dovecot = Dovecot::start(&messages);
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    write_rcfile(&home, &dovecot, &agent(&home));
    fetchmail(&home, &["--keep"]).exits(0);
    dovecot.add(&mail::tiny(9));
    fetchmail(&home, &[]).exits(0);
    assert_eq!(dovecot.messages().len(), messages.len());
    fetchmail(&home, &[]).exits(1);
    assert_eq!(agents_mail(&home).len(), messages.len() + 1);
    fetchmail(&home, &["--all"]).exits(0);
    assert!(dovecot.messages().is_empty());
    assert_eq!(agents_mail(&home).len(), 2 * messages.len() + 1);
}

fn what_is_refused_for_good_is_bounced_if_it_may_not_stay() {
    let message = b"From: Joe <joe@example.org>\r\nSubject: hello\r\n\r\nhello\r\n".to_vec();
    let dovecot = Dovecot::start([message]);
    let smtp = SmtpServer::builder()
        .on("MAIL FROM:<joe@", Reply::send("550 5.7.1 go away"))
        .start();
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    let options = format!("is manish smtphost 127.0.0.1/{}", smtp.port());
    write_rcfile(&home, &dovecot, &options);
    fetchmail(&home, &[]).says(&["5.7.1 go away"]);
    assert_eq!(dovecot.messages().len(), 1);
    assert_eq!(smtp.messages(), []);
    // What was set aside is looked at again when its time has come, or it goes elsewhere.
    let hard = Home::new();
    command(&hard, Path::new("true")).status().unwrap();
    write_rcfile(&hard, &dovecot, &options);
    let bounced = fetchmail(&hard, &["--nosoftbounce"]);
    assert_eq!(bounced.status.code(), Some(0), "{}", bounced.text());
    bounced.says(&["which joe@example.org is told"]);
    assert!(dovecot.messages().is_empty());
    let [report] = &smtp.messages()[..] else {
        panic!("{:?}", smtp.messages())
    };
    assert_eq!(
        (&*report.sender, &*report.recipient),
        ("", "joe@example.org")
    );
    let text = String::from_utf8_lossy(&report.text);
    assert!(text.contains("\r\nDiagnostic-Code: smtp; 550 5.7.1 go away\r\n"));
}

fn a_daemon_says_by_mail_what_is_too_large() {
    let dovecot = Dovecot::start(mail::small(2));
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    write_rcfile(&home, &dovecot, &format!("{} limit 10", agent(&home)));
    // Whoever sees what is printed is sent no mail.
    fetchmail(&home, &[]).exits(1);
    assert!(agents_mail(&home).is_empty());
    fetchmail(&home, &["-d", "3600"]).exits(0);
    wait_until("the warning is there", || {
        let mail = agents_mail(&home).concat();
        String::from_utf8_lossy(&mail).contains("The Fetchmail Daemon\n")
    });
    let quit = fetchmail(&home, &["--quit"]);
    assert_eq!(quit.status.code(), Some(0), "{}", quit.text());
    let mail = String::from_utf8(agents_mail(&home).concat()).unwrap();
    assert!(
        mail.contains("remain on server 127.0.0.1 account msingh:\n"),
        "{mail}"
    );
    assert_eq!(dovecot.messages().len(), 2);
}

fn an_interface_decides_whether_a_server_is_polled() {
    let dovecot = Dovecot::start(mail::small(1));
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    write_rcfile(&home, &dovecot, &agent(&home));
    for (interface, why) in [
        ("lo/127.0.0.2", "lo/127.0.0.2 IP address excluded"),
        ("ppp77/127.0.0.1", "ppp77/127.0.0.1 down"),
    ] {
        fetchmail(&home, &["--interface", interface])
            .exits(0)
            .prints(&["skipping poll of 127.0.0.1, ", why]);
    }
    assert!(agents_mail(&home).is_empty());
    fetchmail(&home, &["--interface", "lo"]).exits(5);
    fetchmail(&home, &["--interface", "lo/127.0.0.1", "--monitor", "lo"]).exits(0);
    assert_eq!(agents_mail(&home).len(), 1);
}

fn commands_are_run_before_and_after() {
    let dovecot = Dovecot::start(mail::small(2));
    let home = Home::new();
    let commands = "preconnect 'echo before >> order' postconnect 'echo after >> order'";
    let options = format!("{} {commands}", agent(&home));
    write_rcfile(&home, &dovecot, &options);
    command(&home, Path::new("true")).status().unwrap();
    fetchmail(&home, &[]).exits(0);
    let order = fs::read_to_string(home.path().join("order")).unwrap();
    assert_eq!(order, "before\nafter\n");
    // The mail is not touched when the way there is not made.
    dovecot.add(&mail::tiny(9));
    write_rcfile(
        &home,
        &dovecot,
        &options.replace("echo before >> order", "exit 3"),
    );
    let ended = fetchmail(&home, &[]);
    ended
        .exits(5)
        .says(&["`preconnect` failed with exit status: 3"]);
    assert_eq!(dovecot.messages().len(), 1);
    // What it may have put up is taken down all the same.
    let order = fs::read_to_string(home.path().join("order")).unwrap();
    assert_eq!(order, "before\nafter\nafter\n");
    write_rcfile(
        &home,
        &dovecot,
        &options.replace("echo after >> order", "exit 3"),
    );
    fetchmail(&home, &["--service", "1"])
        .exits(2)
        .says(&["`postconnect` failed with exit status: 3"]);
    fetchmail(&home, &[]).exits(5);
}

fn a_daemon_hears_its_commands_and_ends_them() {
    let dovecot = Dovecot::start(mail::small(1));
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    let log = home.path().join("log");
    let commands = "preconnect 'echo files $(ulimit -n) >&2; test ! -e /proc/self/fd/9; sleep 600'";
    write_rcfile(&home, &dovecot, &format!("{} {commands}", agent(&home)));
    let rcfile = home.path().join(".fetchmailrc");
    let text = fs::read_to_string(&rcfile).unwrap();
    let text = format!("set daemon 3600 set logfile '{}'\n{text}", log.display());
    fs::write(&rcfile, &text).unwrap();
    let mut shell = command(&home, Path::new("/bin/sh"));
    let started = shell.args(["-c", "ulimit -S -n 200; exec fetchmail 9>inherited"]);
    assert!(started.status().unwrap().success());
    wait_until("the command is heard", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains(": preconnect: files 200\n"))
    });
    let pid = fs::read_to_string(home.path().join("pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(
        !open.iter().any(|path| path.ends_with("inherited")),
        "{open:?}"
    );
    let quit = fetchmail(&home, &["--quit"]);
    assert_eq!(quit.status.code(), Some(0), "{}", quit.text());
    quit.says(&["background fetchmail at", "killed"]);
    let log = fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("was ended, since fetchmail is to stop"),
        "{log}"
    );
    fetchmail(&home, &["--quit"])
        .exits(8)
        .says(&["no other fetchmail is running"]);
}

fn exit_codes_are_fetchmails() {
    let dovecot = Dovecot::start(mail::small(3));
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    let mda = agent(&home);
    write_rcfile(&home, &dovecot, &mda);
    fetchmail(&home, &["--check"])
        .exits(0)
        .prints(&["3 messages (0 seen) for msingh at 127.0.0.1"]);
    let limited = fetchmail(&home, &["--fetchlimit", "1"]);
    assert_eq!(limited.status.code(), Some(13), "{}", limited.text());
    fetchmail(&home, &[]).exits(0);
    let none = fetchmail(&home, &[]);
    none.exits(1).prints(&["No mail for msingh at 127.0.0.1"]);
    let silent = fetchmail(&home, &["-s"]);
    silent.exits(1);
    assert_eq!(silent.stdout, "");
    write_rcfile(&home, &dovecot, &format!("pass wrong {mda}"));
    fetchmail(&home, &[]).exits(3);
    write_rcfile(&home, &dovecot, &format!("{mda} port 1"));
    let ended = fetchmail(&home, &[]);
    ended.exits(5).says(&["server option after user options"]);
    write_rcfile(&home, &dovecot, &mda);
    fetchmail(&home, &["--service", "1"]).exits(2);
    fetchmail(&home, &["--frobnicate"]).exits(5);
    let imap = fetchmail(&home, &["-p", "imap"]);
    imap.exits(4).says(&["IMAP, which posthole does not speak"]);
    fetchmail(&home, &["--smtphost", "127.0.0.1/1"]).exits(1);
    fs::set_permissions(
        home.path().join(".fetchmailrc"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    fetchmail(&home, &[]).exits(6).says(&["chmod 600"]);
}

fn what_fetchmail_has_seen_is_seen() {
    let messages = mail::small(4);
    let dovecot = Dovecot::start(&messages);
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    write_rcfile(&home, &dovecot, &agent(&home));
    let uids = unique_ids(&dovecot);
    assert_eq!(uids.len(), messages.len());
    let seen = format!("msingh@127.0.0.1 {}\nelse@127.0.0.1 x\n", uids[1]);
    write(&home, ".fetchids", &seen, 0o600);
    let ended = fetchmail(&home, &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
    ended.says(&["took over 1 message"]);
    assert_eq!(agents_mail(&home).len(), 3);
    // fetchmail leaves what it has seen on the server.
    assert_eq!(dovecot.messages().len(), 1);
    fetchmail(&home, &[]).exits(1);
    assert_eq!(dovecot.messages().len(), 1);
}

/// What the server calls its messages, asked by hand.
fn unique_ids(dovecot: &Dovecot) -> Vec<String> {
    let mut stream = TcpStream::connect(dovecot.addr()).unwrap();
    let (user, password) = (Dovecot::USER, Dovecot::PASSWORD);
    for line in [
        &format!("USER {user}"),
        &format!("PASS {password}"),
        "UIDL",
        "QUIT",
    ] {
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let listed = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    listed
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

fn a_password_is_in_netrc_or_typed() {
    let dovecot = Dovecot::start(mail::small(1));
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    write_rcfile(&home, &dovecot, &agent(&home));
    let rcfile = home.path().join(".fetchmailrc");
    let text = fs::read_to_string(&rcfile).unwrap();
    let text = text.replace(&format!("pass '{}'", Dovecot::PASSWORD), "");
    fs::write(&rcfile, text).unwrap();
    let ended = fetchmail(&home, &[]);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.text());
    let netrc = format!(
        "machine 127.0.0.1 login msingh password \"{}\"\n",
        Dovecot::PASSWORD
    );
    let netrc = write(&home, ".netrc", &netrc, 0o600);
    fetchmail(&home, &[]).exits(0);
    fs::remove_file(netrc).unwrap();
    dovecot.add(&mail::tiny(7));
    let mut terminal = Terminal::start(command(&home, &home.path().join("bin/fetchmail")));
    terminal.expect("Mail password for");
    terminal.type_line(Dovecot::PASSWORD);
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert_eq!(agents_mail(&home).len(), 2);
}

fn a_daemon_is_woken_and_ended() {
    let dovecot = Dovecot::start(mail::small(2));
    let home = Home::new();
    command(&home, Path::new("true")).status().unwrap();
    let log = home.path().join("log");
    write_rcfile(&home, &dovecot, &agent(&home));
    let rcfile = home.path().join(".fetchmailrc");
    let text = fs::read_to_string(&rcfile).unwrap();
    let text = format!("set daemon 3600 set logfile '{}'\n{text}", log.display());
    fs::write(&rcfile, &text).unwrap();
    let said = || fs::read_to_string(&log).unwrap_or_default();

    fetchmail(&home, &[]).exits(0);
    wait_until("the daemon fetches", || agents_mail(&home).len() == 2);
    let pid = fs::read_to_string(home.path().join("pid")).unwrap();
    assert!(pid.ends_with("\n3600\n"), "{pid:?}");

    let refused = fetchmail(&home, &["--keep"]);
    refused.exits(8).says(&["can't accept options"]);
    dovecot.add(&mail::tiny(8));
    let woken = fetchmail(&home, &[]);
    assert_eq!(woken.status.code(), Some(0), "{}", woken.text());
    woken.says(&["awakened"]);
    wait_until("the daemon fetches what is new", || {
        agents_mail(&home).len() == 3
    });

    // A mistake in the file is said, and does not end it.
    fs::write(&rcfile, "poll\n").unwrap();
    let pid: i32 = pid.lines().next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let wake = || rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    wake();
    wait_until("the mistake is said", || {
        said().contains("going on with what it said before")
    });
    fs::write(&rcfile, text.replace("3600", "7200")).unwrap();
    // Nobody else may read it: that is noticed, and that it was put right.
    fs::set_permissions(&rcfile, fs::Permissions::from_mode(0o644)).unwrap();
    let refusals = || said().matches("going on with what it said before").count();
    let before = refusals();
    wake();
    wait_until("the mode is refused", || refusals() > before);
    fs::set_permissions(&rcfile, fs::Permissions::from_mode(0o600)).unwrap();
    wake();
    wait_until("the file is read again", || {
        let pid = fs::read_to_string(home.path().join("pid")).unwrap();
        pid.ends_with("\n7200\n")
    });

    let quit = fetchmail(&home, &["--quit"]);
    assert_eq!(quit.status.code(), Some(0), "{}", quit.text());
    quit.says(&["background fetchmail at", "killed"]);
    assert!(!home.path().join("pid").exists());
    assert!(said().contains("terminated"), "{}", said());
}

/// The same mailbox, the same rc file: by fetchmail, and by us.
///
/// The file leaves the headers alone; what either adds to them otherwise is in the manual.
fn an_agent_gets_what_fetchmail_gives_it() {
    let messages = mail::small(40);
    let rcfile = "no rewrite sslproto ''";
    let fetch = |program: Option<&Path>| {
        let dovecot = Dovecot::start(&messages);
        let home = Home::new();
        write_rcfile(&home, &dovecot, &format!("{rcfile} {}", agent(&home)));
        let program = match program {
            Some(program) => program.to_owned(),
            None => home.path().join("bin/fetchmail"),
        };
        let mut command = command(&home, &program);
        command.args(["--invisible", "-s"]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(dovecot.messages().is_empty());
        agents_mail(&home)
    };
    let theirs = fetch(Some(Path::new("/usr/bin/fetchmail")));
    let ours = fetch(None);
    assert_eq!(ours.len(), theirs.len());
    let shown = |texts: &[Vec<u8>]| -> Vec<String> {
        let texts = texts.iter();
        texts.map(|text| text.escape_ascii().to_string()).collect()
    };
    for (ours, theirs) in shown(&ours).into_iter().zip(shown(&theirs)) {
        assert_eq!(ours, theirs);
    }
}
