//! Watched by machines: numbers for Prometheus, and commands that are run.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use posthole_testkit::{World, mail};

use crate::world::{Daemon, configure, ok, wait_until};

#[test]
fn numbers_are_in_a_file_and_over_http() {
    let world = World::builder().messages(mail::small(2)).build();
    // Somebody else may take it before the daemon does; then it tries again until it gets it.
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    configure(&world, |text| {
        format!(
            "{text}[daemon]\nmetrics-file = \"~/posthole.prom\"\n\
             metrics-listen = \"127.0.0.1:{port}\"\n"
        )
    });
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("the first poll is over", |a| a["fetched"] == 2);
    let ask = |request: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    wait_until("it listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in [
        "posthole_account_up{account=\"work\"} 1",
        "posthole_account_fetched_messages_total{account=\"work\"} 2",
        "posthole_config_ok 1",
    ] {
        assert!(answer.contains(line), "{line:?} is not in {answer}");
    }
    // A page in a browser whose name points here reads nothing.
    let foreign = ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    // Whoever says too much, or comes when all places are taken, is hung up on.
    let unanswered = |request: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(request.as_bytes()).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        answer.is_empty()
    };
    let much = "x".repeat(1 << 20);
    assert!(unanswered(&format!(
        "GET / HTTP/1.1\r\nMuch: {much}\r\n\r\n"
    )));
    let idle: Vec<_> = (0..16)
        .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
        .collect();
    assert!(unanswered("GET / HTTP/1.1\r\n\r\n"));
    drop(idle);
    let file = world.home().path().join("posthole.prom");
    wait_until("the file is there", || {
        std::fs::read_to_string(&file)
            .is_ok_and(|text| text.contains("posthole_start_time_seconds"))
    });
    assert!(ok(&world, &["status"]).contains(&format!("metrics 127.0.0.1:{port}: works")));
}

#[test]
fn commands_are_run_for_mail_and_for_trouble() {
    let world = World::builder().messages(mail::small(2)).build();
    configure(&world, |text| {
        format!(
            "{text}[daemon]\n\
             on-new-mail = \"cat > mail; echo $POSTHOLE_ACCOUNT $POSTHOLE_NEW >> mail\"\n\
             on-failure = \"cat > trouble; echo $POSTHOLE_CLASS >> trouble\"\n"
        )
    });
    let read =
        |name: &str| std::fs::read_to_string(world.home().path().join(name)).unwrap_or_default();
    let daemon = Daemon::start(&world, &[]);
    wait_until("mail is announced", || read("mail").ends_with("work 2\n"));
    assert!(read("mail").starts_with("work: 2 new messages\n"));
    assert_eq!(read("trouble"), "");
    // What was accepted before gets a second chance; a new configuration does not.
    world.home().write_password("wrong");
    configure(&world, |text| text + "failures = 1\n");
    ok(&world, &["reload"]);
    ok(&world, &["wake", "work"]);
    wait_until("trouble is announced", || {
        read("trouble").ends_with("authentication\n")
    });
    let letter = read("trouble");
    assert!(
        letter.starts_with("posthole: work: the last poll failed\n"),
        "{letter}"
    );
    assert!(
        letter.contains("refused the login") && letter.contains("hint: "),
        "{letter}"
    );
    assert!(!letter.contains("wrong"), "{letter}");
    drop(daemon);
}
