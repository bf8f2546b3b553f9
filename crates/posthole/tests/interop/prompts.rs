//! Questions by a program in a window (`SSH_ASKPASS`), and the server's own on a terminal.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use posthole_testkit::keys::KeyFormat;
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Round, Suite};
use posthole_testkit::{Home, Terminal};

use crate::world::{BIN, Ended, at_a_terminal, posthole, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    let pam = [needs, &[Requirement::PamWrapper]].concat();
    suite
        .test(
            "a_program_asks_where_there_is_no_terminal",
            needs,
            a_program_asks_where_there_is_no_terminal,
        )
        .test(
            "a_program_asks_about_an_unknown_host_key",
            needs,
            a_program_asks_about_an_unknown_host_key,
        )
        .test(
            "the_terminal_comes_before_the_program_unless_it_is_preferred",
            needs,
            the_terminal_comes_before_the_program_unless_it_is_preferred,
        )
        .test(
            "a_program_is_not_run_without_a_display_or_against_the_wish",
            needs,
            a_program_is_not_run_without_a_display_or_against_the_wish,
        )
        .test(
            "a_program_that_gives_no_answer_ends_the_run",
            needs,
            a_program_that_gives_no_answer_ends_the_run,
        )
        .test(
            "the_servers_own_questions_are_put_at_the_terminal",
            &pam,
            the_servers_own_questions_are_put_at_the_terminal,
        )
        .test(
            "the_banner_is_shown_unless_silence_is_wanted",
            needs,
            the_banner_is_shown_unless_silence_is_wanted,
        )
}

/// A program that notes the questions and answers from a list; it fails when that is at its end.
struct Askpass {
    program: PathBuf,
    asked: PathBuf,
}

impl Askpass {
    fn answering(home: &Home, answers: &[&str]) -> Self {
        let (program, asked) = (home.path().join("askpass"), home.path().join("asked"));
        let list = home.path().join("answers");
        std::fs::write(&list, answers.join("\n") + "\n").unwrap();
        std::fs::write(&asked, "").unwrap();
        let script = format!(
            "#!/bin/sh\n\
             printf '%s|' \"$1\" >>{asked}\n\
             answer=$(head -n 1 {list})\n\
             sed -i 1d {list}\n\
             printf '%s\\n' \"$answer\"\n\
             [ -n \"$answer\" ]\n",
            asked = asked.display(),
            list = list.display(),
        );
        // By another process: what is open for writing in this one cannot be executed.
        let written = Command::new("sh")
            .args(["-c", "printf %s \"$1\" >\"$0\" && chmod 700 \"$0\""])
            .arg(&program)
            .arg(script)
            .status();
        assert!(written.unwrap().success());
        Self { program, asked }
    }

    /// The questions so far.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(&self.asked).unwrap();
        asked.split_terminator('|').map(str::to_owned).collect()
    }
}

/// Runs the program in a session of its own, which has no terminal, with these variables.
fn run_with(home: &Home, args: &[&str], variables: &[(&str, &Path)]) -> Ended {
    let mut command = posthole(home, args);
    command
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    crate::world::end(command.spawn().unwrap())
}

fn a_program_asks_where_there_is_no_terminal() {
    let messages = mail::corpus(31, 3);
    let host = Mailhost::start(&messages);
    let home = host.home();
    home.write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    let (url, via) = (host.url(), host.via());
    let args = ["fetch", &url, "--via", &via, "--to", "maildir:~/Mail"];
    let answers = ["wrong horse", "correct horse", Mailhost::MAIL_PASSWORD];
    for display in ["DISPLAY", "WAYLAND_DISPLAY"] {
        let askpass = Askpass::answering(home, &answers);
        let variables = [("SSH_ASKPASS", &*askpass.program), (display, ":9".as_ref())];
        run_with(home, &args, &variables).exits(0);
        let question = format!("Passphrase for the key {}:", home.identity().display());
        assert_eq!(
            askpass.asked(),
            [
                question.clone(),
                format!("That is not the passphrase. {question}"),
                "Mail password for msingh@localhost:".to_owned()
            ]
        );
    }
    home.assert_delivered(&messages);
}

fn a_program_asks_about_an_unknown_host_key() {
    let message = mail::tiny(1);
    let host = Mailhost::start([&message]);
    let home = host.home();
    let known_hosts = std::fs::read_to_string(home.known_hosts()).unwrap();
    home.write_known_hosts("");
    for (answers, code) in [
        (&["no"][..], 68),
        // Dismissed.
        (&[], 77),
        // It knows only passwords.
        (&["sesame"; 20], 77),
        (&["y", "yes"], 0),
    ] {
        let askpass = Askpass::answering(home, answers);
        let variables = [
            ("SSH_ASKPASS", &*askpass.program),
            ("SSH_ASKPASS_REQUIRE", "force".as_ref()),
        ];
        let ended = run_with(home, &["fetch"], &variables);
        assert_eq!(
            ended.status.code(),
            Some(code),
            "{answers:?} {}",
            ended.text()
        );
        let asked = askpass.asked();
        assert!(asked[0].contains("fingerprint\n\n    SHA256:"), "{asked:?}");
        assert!(asked.len() <= 10, "{asked:?}");
    }
    home.assert_delivered([&message]);
    assert_eq!(
        std::fs::read_to_string(home.known_hosts()).unwrap(),
        known_hosts
    );
}

/// A run at a terminal with these variables, that needs the passphrase of a key.
fn at_a_terminal_with(home: &Home, variables: &[(&str, &Path)]) -> Terminal {
    let mut command = home.posthole(Path::new(BIN));
    command
        .arg("fetch")
        .env("TERM", "xterm")
        .envs(variables.iter().copied());
    Terminal::start(command)
}

fn the_terminal_comes_before_the_program_unless_it_is_preferred() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    home.write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    let display = ("DISPLAY", ":9".as_ref());
    let require = |how: &'static str| ("SSH_ASKPASS_REQUIRE", how.as_ref());

    for variables in [
        &[display][..],
        // Preferred, but in vain.
        &[require("prefer")],
        &[display, require("never")],
    ] {
        let askpass = Askpass::answering(home, &["correct horse"]);
        let program = ("SSH_ASKPASS", &*askpass.program);
        let mut terminal = at_a_terminal_with(home, &[&[program], variables].concat());
        terminal.expect("Passphrase for the key ");
        terminal.type_line("correct horse");
        let (status, screen) = terminal.end();
        assert!(status.success(), "{screen}");
        assert!(askpass.asked().is_empty(), "{variables:?}");
    }
    for variables in [&[require("force")][..], &[display, require("prefer")]] {
        let askpass = Askpass::answering(home, &["correct horse"]);
        let program = ("SSH_ASKPASS", &*askpass.program);
        let (status, screen) = at_a_terminal_with(home, &[&[program], variables].concat()).end();
        assert!(status.success(), "{screen}");
        assert!(!screen.contains("Passphrase"), "{screen}");
        assert_eq!(askpass.asked().len(), 1, "{variables:?}");
    }
}

fn a_program_is_not_run_without_a_display_or_against_the_wish() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    home.write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    for variables in [
        &[][..],
        &[
            ("DISPLAY", Path::new(":9")),
            ("SSH_ASKPASS_REQUIRE", Path::new("never")),
        ],
    ] {
        let askpass = Askpass::answering(home, &["correct horse"]);
        let program = ("SSH_ASKPASS", &*askpass.program);
        run_with(home, &["fetch"], &[&[program], variables].concat())
            .exits(77)
            .says(&["needs its passphrase, and there is no terminal to ask on"]);
        assert!(askpass.asked().is_empty());
    }
    // Nor can it be asked if it is not there.
    let variables = [
        ("SSH_ASKPASS", Path::new("/nonexistent/askpass")),
        ("SSH_ASKPASS_REQUIRE", Path::new("force")),
    ];
    run_with(home, &["fetch"], &variables).exits(77).says(&[
        "cannot ask with /nonexistent/askpass (SSH_ASKPASS): ",
        "needs its passphrase, and there is no terminal to ask on",
    ]);
}

fn a_program_that_gives_no_answer_ends_the_run() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    home.write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    let askpass = Askpass::answering(home, &[]);
    let variables = [
        ("SSH_ASKPASS", &*askpass.program),
        ("SSH_ASKPASS_REQUIRE", "force".as_ref()),
    ];
    run_with(home, &["fetch"], &variables)
        .exits(77)
        .says(&["cannot log in to msingh@127.0.0.1: the question was not answered"]);
    assert_eq!(askpass.asked().len(), 1);
}

fn the_servers_own_questions_are_put_at_the_terminal() {
    let message = mail::tiny(1);
    let host = Mailhost::start_with([&message], |sshd| {
        sshd.option("AuthenticationMethods keyboard-interactive")
            .rounds(&[
                Round {
                    answer: "sesame",
                    echo: false,
                },
                Round {
                    answer: "blue",
                    echo: true,
                },
            ])
    });
    let mut terminal = at_a_terminal(host.home(), &["fetch"]);
    terminal.expect("(msingh@127.0.0.1) ");
    terminal.expect("Password: ");
    terminal.type_line("sesame");
    terminal.expect("(msingh@127.0.0.1) ");
    terminal.type_line("blue");
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert!(
        screen.contains("blue") && !screen.contains("sesame"),
        "{screen}"
    );
    host.home().assert_delivered([&message]);

    // Nobody is there to answer.
    run(host.home(), &["fetch"]).exits(77).says(&[
        "cannot log in to msingh@127.0.0.1: keyboard-interactive: there is no terminal to ask on; \
         the server takes keyboard-interactive",
        "hint: run it in a terminal",
    ]);
}

fn the_banner_is_shown_unless_silence_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let banner = directory.path().join("banner");
    std::fs::write(&banner, "Authorised\x1b[2J use only.\nAsk the help desk.\n").unwrap();
    let host = Mailhost::start_with([mail::tiny(1)], |sshd| {
        sshd.option(&format!("Banner {}", banner.display()))
    });
    let home = host.home();
    let ended = run(home, &["fetch"]);
    assert!(ended.status.success(), "{}", ended.text());
    assert_eq!(
        ended.stderr,
        "posthole: work: note: 127.0.0.1 says: Authorised?[2J use only.\n  Ask the help desk.\n"
    );
    run(home, &["fetch", "-q"]).exits(0);

    // A login that fails tells it in any case, as the reason may be there.
    std::fs::remove_file(home.identity()).unwrap();
    run(home, &["fetch", "-q"])
        .exits(77)
        .says(&["it says: Authorised?[2J use only. Ask the help desk."]);
}
