//! Forwards of the configuration.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use posthole_testkit::World;
use serde_json::Value;

use crate::questions::terminal;
use crate::world::{Daemon, configure, ok, run, wait_until};

/// A port that was free a moment ago; should somebody else take it, the daemon tries again.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn section(world: &World, name: &str, port: u16) -> String {
    let via = world.via();
    format!("[forward.{name}]\nlisten = \"{port}\"\nvia = \"{via}\"\nto = \"localhost:110\"\n")
}

/// The forward of this name.
fn forward(daemon: &Daemon<'_>, name: &str) -> Value {
    let status = daemon.status().unwrap();
    let services = status["services"].as_array().unwrap().iter();
    let mut forwards = services.filter(|service| service["kind"] == "forward");
    let found = forwards.find(|service| service["name"] == name);
    found.cloned().unwrap_or_default()
}

#[track_caller]
fn wait_for(daemon: &Daemon<'_>, name: &str, what: &str, so: impl Fn(&Value) -> bool) {
    wait_until(what, || so(&forward(daemon, name)));
}

/// A client that has been greeted.
fn greeted(port: u16) -> BufReader<TcpStream> {
    let mut client = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    let mut greeting = String::new();
    client.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("+OK"), "{greeting}");
    client
}

/// Says QUIT, which shows that the way still stands.
fn quit(mut client: BufReader<TcpStream>) {
    client.get_mut().write_all(b"QUIT\r\n").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("+OK"), "{rest}");
}

#[test]
fn forwards_come_change_and_go_and_clients_of_the_others_do_not_notice() {
    let world = World::builder().build();
    let (one, two) = (free_port(), free_port());
    configure(&world, |text| text + &section(&world, "one", one));
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for_log("started with 1 account and 1 forward");
    wait_for(&daemon, "one", "it is served", |f| !f["forward"].is_null());
    let client = greeted(one);
    wait_for(&daemon, "one", "it is counted", |f| {
        f["forward"]["clients"] == 1
    });
    let status = forward(&daemon, "one");
    assert!(status["forward"]["connected_since"].is_u64(), "{status}");
    assert!(status["forward"]["received"].as_u64().unwrap() > 0);
    let text = ok(&world, &["status"]);
    for said in [
        "forward one: 127.0.0.1:",
        " leads to ",
        "1 client now, 1 in all",
    ] {
        assert!(text.contains(said), "{said:?} is not in {text}");
    }

    configure(&world, |text| text + &section(&world, "two", two));
    let told = ok(&world, &["reload"]);
    assert!(
        told.contains("1 as before, 2 forwards (1 new or changed)"),
        "{told}"
    );
    wait_for(&daemon, "two", "it is served, too", |f| {
        !f["forward"].is_null()
    });
    quit(greeted(two));
    quit(client);

    // They swap their ports, and what was open through them ends.
    let mut client = greeted(one);
    configure(&world, |text| {
        let text = text.replace(&format!("\"{one}\""), "\"SWAP\"");
        let text = text.replace(&format!("\"{two}\""), &format!("\"{one}\""));
        text.replace("\"SWAP\"", &format!("\"{two}\"")) + "idle = \"1m\"\n"
    });
    ok(&world, &["reload"]);
    assert!(client.read_to_end(&mut Vec::new()).is_err(), "it is reset");
    wait_for(&daemon, "one", "it has moved", |f| {
        let places = f["forward"]["listen"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        places.contains(&Value::from(format!("127.0.0.1:{two}")))
    });
    assert!(!daemon.log().contains("is taken"), "{}", daemon.log());
    wait_for(&daemon, "two", "it has moved", |f| !f["forward"].is_null());
    quit(greeted(one));

    configure(&world, |text| {
        text.split("[forward").next().unwrap().to_owned()
    });
    ok(&world, &["reload"]);
    wait_until("nobody listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, one)).is_err()
    });
    assert_eq!(forward(&daemon, "one"), Value::Null);
    ok(&world, &["stop"]);
    let (status, log) = daemon.end();
    assert!(status.success(), "{log}");
}

#[test]
fn a_forward_alone_is_enough_and_one_whose_port_is_taken_stops_nothing() {
    let world = World::builder().build();
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (taken, free) = (squatter.local_addr().unwrap().port(), free_port());
    configure(&world, |_| {
        section(&world, "taken", taken) + &section(&world, "free", free)
    });
    let daemon = Daemon::start(&world, &[]);
    wait_for(&daemon, "taken", "it is known", |f| f["ok"] == false);
    let reason = forward(&daemon, "taken")["text"].to_string();
    let us = format!("(process {})", std::process::id());
    for said in [&format!("127.0.0.1:{taken} is taken by "), &us] {
        assert!(reason.contains(said), "{reason}");
    }
    daemon.wait_for_log("not served: ");
    wait_for(&daemon, "free", "the other is served", |f| {
        !f["forward"].is_null()
    });
    quit(greeted(free));
    // Who mends it need not wait.
    drop(squatter);
    ok(&world, &["wake"]);
    wait_for(&daemon, "taken", "it is served at last", |f| {
        f["ok"] == true
    });
    quit(greeted(taken));
}

#[test]
fn two_forwards_cannot_have_the_same_place() {
    let world = World::builder().build();
    let port = free_port();
    configure(&world, |text| {
        text + &section(&world, "one", port) + &section(&world, "two", port)
    });
    let refused = run(&world, &["daemon"]);
    assert_eq!(refused.code, Some(78));
    let said = "`one` listens there already, before `two`";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
}

#[test]
fn a_key_of_a_forward_is_unlocked_as_those_of_accounts_are() {
    const PASSPHRASE: &str = "open the door";
    let world = World::builder().passphrase(PASSPHRASE).build();
    let port = free_port();
    configure(&world, |_| section(&world, "one", port));
    let daemon = Daemon::start(&world, &[]);
    wait_for(&daemon, "one", "it is served", |f| !f["forward"].is_null());
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut told = String::new();
    client.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("-ERR "), "{told}");
    assert!(told.contains("posthole unlock"), "{told}");
    assert_eq!(daemon.status().unwrap()["daemon"]["questions"], 2);
    let status = forward(&daemon, "one");
    assert!(status["ok"] == false && status["text"].to_string().contains("passphrase"));

    let mut unlock = terminal(&world, &["unlock"]);
    unlock.expect("Passphrase for the key");
    unlock.type_line(PASSPHRASE);
    assert!(unlock.end().0.success());
    quit(greeted(port));
    assert_eq!(forward(&daemon, "one")["ok"], true);
    assert!(!daemon.log().contains(PASSPHRASE));
}

#[test]
fn a_token_opens_a_mailbox_without_the_password() {
    let world = World::builder()
        .messages(posthole_testkit::mail::small(3))
        .build();
    let port = free_port();
    configure(&world, |text| {
        let forward = "login = \"local-token\"\naccount = \"work\"\n";
        format!("{text}[forward.local]\nlisten = \"{port}\"\n{forward}")
    });
    let daemon = Daemon::start(&world, &[]);
    wait_for(&daemon, "local", "there is no token", |f| f["ok"] == false);
    let reason = forward(&daemon, "local")["text"].to_string();
    assert!(reason.contains("posthole forward token local"), "{reason}");
    let token = ok(&world, &["forward", "token", "local"]);
    let token = token.trim_end();
    ok(&world, &["wake"]);
    wait_for(&daemon, "local", "it is served", |f| {
        !f["forward"].is_null()
    });
    assert_eq!(forward(&daemon, "local")["forward"]["account"], "work");

    let mut client = greeted(port);
    let mut ask = |line: String| {
        client.get_mut().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_line(&mut answer).unwrap();
        answer
    };
    assert!(ask("USER whoever\r\n".to_owned()).starts_with("+OK"));
    let refused = ask(format!("PASS {}\r\n", World::MAIL_PASSWORD));
    assert!(refused.starts_with("-ERR [AUTH] "), "{refused}");
    let accepted = ask(format!("PASS {token}\r\n"));
    assert!(accepted.starts_with("+OK"), "{accepted}");
    assert!(ask("STAT\r\n".to_owned()).starts_with("+OK 3 "));
    quit(client);
    // A password that the server refuses is tried once, until somebody has done something about it.
    ok(&world, &["pause"]);
    world.home().write_password("wrong");
    let before = world.pop3().count("PASS");
    let told = |greeting: &str| {
        let mut client = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
        let mut said = String::new();
        client.read_line(&mut said).unwrap();
        if said.starts_with("+OK") {
            let login = format!("USER x\r\nPASS {token}\r\n");
            client.get_mut().write_all(login.as_bytes()).unwrap();
        }
        client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(greeting), "{said}");
        assert!(
            said.contains("-ERR [SYS/PERM] posthole: the mail server refused"),
            "{said}"
        );
    };
    told("+OK");
    told("-ERR");
    assert_eq!(world.pop3().count("PASS"), before + 1);
    world.home().write_password(World::MAIL_PASSWORD);
    ok(&world, &["wake"]);
    quit(greeted(port));
    // A line without an end is too much.
    let mut flood = greeted(port);
    let octets = vec![b'x'; 1 << 20];
    let sent = flood.get_mut().write_all(&octets);
    assert!(sent.is_err() || flood.read_to_end(&mut Vec::new()).is_err());

    let revoked = ok(&world, &["forward", "token", "local", "--revoke"]);
    assert_eq!(revoked, "local: the token is void\n");
    let mut client = greeted(port);
    client
        .get_mut()
        .write_all(format!("USER x\r\nPASS {token}\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    client.read_line(&mut answer).unwrap();
    answer.clear();
    client.read_line(&mut answer).unwrap();
    assert!(answer.starts_with("-ERR [AUTH] "), "{answer}");
    let log = daemon.log();
    assert!(log.contains("the right token"), "{log}");
    assert!(
        !log.contains(token) && !log.contains(World::MAIL_PASSWORD),
        "{log}"
    );
}
