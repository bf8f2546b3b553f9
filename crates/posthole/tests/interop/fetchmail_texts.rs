//! What a message looks like after fetchmail, and after us, with each option that changes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use posthole_testkit::pop3::{Maildrop, Pop3Server};
use posthole_testkit::real::{Requirement, Suite};
use posthole_testkit::{Home, World};

use crate::fetchmail::command;

pub(crate) fn tests(suite: Suite) -> Suite {
    suite.test(
        "messages_are_changed_as_fetchmail_changes_them",
        &[Requirement::Fetchmail, Requirement::NssWrapper],
        messages_are_changed_as_fetchmail_changes_them,
    )
}

/// Options of the account, and lines in front of it.
const OPTIONS: &[(&str, &str)] = &[
    ("", ""),
    ("", "set invisible"),
    ("no rewrite", ""),
    ("mimedecode", ""),
    ("stripcr", ""),
    ("forcecr", ""),
    ("pass8bits", ""),
    ("dropstatus dropdelivered", ""),
    (
        "mimedecode stripcr dropstatus dropdelivered no rewrite",
        "set invisible",
    ),
];

/// Header and body, with what is odd about them.
const MESSAGES: &[&str] = &[
    "From: bob\r\nTo: me, alice, \"X, Y\" <bob>, carol@far.example\r\nCc: Joe <joe>\r\n\
     Reply-To: root\r\nSubject: names without a domain\r\n\r\nhello\r\n",
    "From: Bob <bob>\r\nTo: undisclosed-recipients:;\r\n\
     Cc: team: alice, bob@x.example, Joe <joe>;\r\nSubject: groups\r\n\r\nx\r\n",
    "From: bob (Bob B)\r\nTo: (c) alice (Alice, A), \"q@d\"\r\nSubject: comments\r\n\r\nx\r\n",
    "From: \"Bob\r\n Bee\" <bob>\r\nTo: alice,\r\n\tbob,\r\n carol@x.example\r\n\
     Subject: folded\r\n lines\r\n\r\nx\r\n",
    "From: <@relay.example:bob@x.example>\r\nTo: <>\r\nSender: bang!path\r\n\
     Subject: routes\r\n\r\nx\r\n",
    "Return-Path: <bob>\r\nReceived: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\r\n\
     From: bob@x.example\r\nTo: me\r\nSubject: traces\r\n\r\nx\r\n",
    "Status: RO\r\nX-Status: A\r\nX-Mozilla-Status: 0001\r\nX-Mozilla-Status2: 00000000\r\n\
     Delivered-To: me@x.example\r\nDelivered-To: other@x.example\r\nFrom: a@b.example\r\n\
     To: me@x.example\r\nSubject: states\r\n\r\nStatus: RO in the body\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\n\
     Subject: =?iso-8859-1?Q?caf=E9?= =?utf-8?B?w6k=?= plain\r\nMIME-Version: 1.0\r\n\
     Content-Type: text/plain; charset=iso-8859-1\r\n\
     Content-Transfer-Encoding: quoted-printable\r\n\r\n\
     caf=E9 soft=\r\n line =3D end\r\nlast =20\r\n",
    "From: =?utf-8?Q?J=C3=B6rg?= <j@b.example>\r\nTo: me@x.example\r\nMIME-Version: 1.0\r\n\
     Content-Type: multipart/mixed; boundary=\"b=1\"\r\n\r\npre =41\r\n--b=1\r\n\
     Content-Type: text/plain; charset=utf-8\r\n\
     Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n--b=1\r\n\
     Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n\
     AAEC\r\n--b=1--\r\npost =41\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\nSubject: caf\u{e9}\r\nMIME-Version: 1.0\r\n\
     Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
     caf\u{e9}\r\n",
    "Resent-From: bob\r\nResent-To: alice\r\nFrom: x@y.example\r\nTo: z\r\nErrors-To: adm\r\n\
     Apparently-To: joe\r\nSubject: resent\r\n\r\nx\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\nSubject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\nSubject: CRs\r\n\r\na\rb\r\nc\r\r\nd\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\nno header line\r\nSubject: after it\r\n\r\nx\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\nSubject: blanks   \r\nX-Empty:\r\nX-Blank: \r\n\r\n\
     behind  \r\n\r\n\r\n",
    // What the manual names as different.
    "From bob Mon Jan  1 00:00:00 2024\r\nFrom: a@b.example\r\nTo: me@x.example\r\n\
     Subject: mbox\r\n\r\nFrom here\r\n>From there\r\n",
    "From : bob\r\nTo\t: alice\r\nSubject : colons\r\n\r\nx\r\n",
    "From: a@b.example\r\nTo: me@x.example\r\nSubject: a header is all\r\n",
    "just text\r\nwithout a header\r\n",
];

fn messages_are_changed_as_fetchmail_changes_them() {
    for (options, globals) in OPTIONS {
        let theirs = fetched(Some(Path::new("/usr/bin/fetchmail")), options, globals);
        let ours = fetched(None, options, globals);
        assert_eq!((ours.len(), theirs.len()), (MESSAGES.len(), MESSAGES.len()));
        for ((ours, theirs), message) in ours.iter().zip(&theirs).zip(MESSAGES) {
            let theirs = explained(message, theirs);
            assert_eq!(
                ours, &theirs,
                "with {globals:?} {options:?}, of {message:?}"
            );
        }
    }
}

/// What fetchmail has made of a message, without what is different on purpose.
fn explained(message: &str, theirs: &str) -> String {
    let mut text = theirs.replace(
        "Content-Transfer-Encoding: 8bit            \n",
        "Content-Transfer-Encoding: 8bit\n",
    );
    for (odd, at) in [
        ("From bob Mon Jan  1 00:00:00 2024\n", 0),
        ("From : bob\n", 0),
    ] {
        if message.replace("\r\n", "\n").starts_with(odd) {
            text.insert_str(at, odd);
        }
    }
    if !message.contains("\r\n\r\n") {
        assert_eq!(text.pop(), Some('\n'));
    }
    text
}

/// The messages as they are given to an agent, with what is different each time taken out.
fn fetched(program: Option<&Path>, options: &str, globals: &str) -> Vec<String> {
    let maildrop = Maildrop::of(MESSAGES.iter().map(|text| text.as_bytes()));
    let server = Pop3Server::builder()
        .account(Home::USER, World::MAIL_PASSWORD, &maildrop)
        .start();
    let home = Home::new();
    let dir = home.path().join("agent");
    fs::create_dir(&dir).unwrap();
    let rcfile = home.path().join("rc");
    let text = format!(
        "{globals} set pidfile '{home}/pid' set idfile '{home}/ids'\n\
         poll 127.0.0.1 proto pop3 service {port} bad-header accept\n\
         user {user} pass '{password}' sslproto '' {options}\n\
         mda 'cat > {dir}/$(ls {dir} | wc -l)'\n",
        home = home.path().display(),
        port = server.port(),
        user = Home::USER,
        password = World::MAIL_PASSWORD,
        dir = dir.display(),
    );
    fs::write(&rcfile, text).unwrap();
    fs::set_permissions(&rcfile, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ours = home.path().join("bin/fetchmail");
    let output = command(&home, program.unwrap_or(&ours))
        .arg("-f")
        .arg(&rcfile)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let file = |number: usize| -> PathBuf { dir.join(number.to_string()) };
    let read = |number| match fs::read(file(number)) {
        // An octet is a character: what was decoded may be in any set.
        Ok(text) => text.into_iter().map(char::from).collect::<String>(),
        Err(error) => panic!("message {number} by {program:?} {options:?}: {error}; {said}"),
    };
    (0..MESSAGES.len())
        .map(read)
        .map(|text| timeless(&text))
        .collect()
}

/// Without the name of the program and the time in our own field, or fetchmail's.
fn timeless(text: &str) -> String {
    let Some((before, rest)) = text
        .split_once(" (posthole-")
        .or_else(|| text.split_once(" (fetchmail-"))
    else {
        return text.to_owned();
    };
    let (_, rest) = rest.split_once(')').unwrap();
    let (how, rest) = rest.split_once("; ").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    format!("{before} (PROGRAM){how}; TIME\n{rest}")
}
