//! Mail into real mail servers, through real delivery agents, and beside them into an mbox.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use posthole_testkit::real::{Dovecot, Postfix, Requirement, Suite};
use posthole_testkit::{Home, home, mail};

use crate::world::{BIN, run, start};

use Requirement::{
    Dotlockfile, Dovecot as HasDovecot, DovecotLda, DovecotLmtp, Maildrop, Postfix as HasPostfix,
    Procmail, Root,
};

pub(crate) fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "postfix_gets_every_message_as_it_is",
            &[HasDovecot, HasPostfix],
            postfix_gets_every_message_as_it_is,
        )
        .test(
            "what_postfix_refuses_stays_where_it_is",
            &[HasDovecot, HasPostfix],
            what_postfix_refuses_stays_where_it_is,
        )
        .test(
            "dovecot_gets_every_message_by_lmtp",
            &[HasDovecot, DovecotLmtp],
            dovecot_gets_every_message_by_lmtp,
        )
        .test(
            "dovecot_knows_who_is_there_by_lmtp",
            &[HasDovecot, DovecotLmtp],
            dovecot_knows_who_is_there_by_lmtp,
        )
        .test(
            "procmail_and_maildrop_deliver",
            &[HasDovecot, Procmail, Maildrop],
            agents_deliver,
        )
        .test(
            "dovecot_lda_delivers_to_who_is_there",
            &[HasDovecot, DovecotLda],
            dovecot_lda_delivers_to_who_is_there,
        )
        .test(
            "procmail_and_posthole_share_an_mbox",
            &[HasDovecot, Procmail],
            procmail_and_posthole_share_an_mbox,
        )
        .test(
            "root_delivers_into_the_mail_folder_of_a_user",
            &[HasDovecot, Root],
            root_delivers_into_the_mail_folder_of_a_user,
        )
        .test(
            "a_user_locks_his_mailbox_in_the_mail_folder",
            &[HasDovecot, Root, Dotlockfile],
            a_user_locks_his_mailbox_in_the_mail_folder,
        )
        .test(
            "a_full_disk_leaves_an_mbox_as_it_was",
            &[HasDovecot, Root],
            a_full_disk_leaves_an_mbox_as_it_was,
        )
        .test(
            "a_batch_on_standard_output_is_nothing_but_a_batch",
            &[HasDovecot],
            a_batch_on_standard_output_is_nothing_but_a_batch,
        )
}

/// A home with an account on a Dovecot of this machine, whose mail goes there.
fn home_with(dovecot: &Dovecot, deliver: &str) -> Home {
    let home = Home::new();
    home.write_password(Dovecot::PASSWORD);
    configure(&home, dovecot, deliver);
    home
}

fn configure(home: &Home, dovecot: &Dovecot, deliver: &str) {
    home.write_config(&format!(
        "[account.work]\n\
         server = \"pop3://{}@{}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         keep = false\n\
         {deliver}\n",
        Dovecot::USER,
        dovecot.addr()
    ));
}

/// Requires that each message is the end of exactly one of these, which have got header fields in
/// front.
#[track_caller]
fn assert_ends(found: &[Vec<u8>], messages: &[Vec<u8>]) {
    assert_eq!(found.len(), messages.len(), "how many messages came");
    for message in messages {
        let text = mail::delivered(message);
        let same = found.iter().filter(|one| one.ends_with(&text)).count();
        assert_eq!(same, 1, "{} came once", text.escape_ascii());
    }
}

fn postfix_gets_every_message_as_it_is() {
    let messages = mail::small(60);
    let dovecot = Dovecot::start(&messages);
    let postfix = Postfix::start();
    let deliver = format!(
        "deliver = \"smtp:{}\"\nrecipients = \"msingh\"",
        postfix.addr()
    );
    let home = home_with(&dovecot, &deliver);
    run(&home, &["check"])
        .exits(0)
        .prints(&["smtp:127.0.0.1:", "can take mail"]);
    run(&home, &["fetch"]).exits(0).prints(&["60 new"]);
    // Postfix writes the return path itself (RFC 5321 §4.4).
    let without_return_path = |message: &Vec<u8>| {
        let first = message.iter().position(|octet| *octet == b'\n').unwrap();
        assert!(message.starts_with(b"Return-Path: "));
        message[first + 1..].to_vec()
    };
    let expected: Vec<_> = messages.iter().map(without_return_path).collect();
    assert_ends(&postfix.messages("msingh", messages.len()), &expected);
    assert_eq!(dovecot.messages(), Vec::<Vec<u8>>::new());
    run(&home, &["fetch"]).exits(0);
    assert_eq!(postfix.messages("msingh", 60).len(), 60);
}

fn what_postfix_refuses_stays_where_it_is() {
    let messages = mail::small(3);
    let dovecot = Dovecot::start(&messages);
    let postfix = Postfix::start_with("smtpd_relay_restrictions = reject_unauth_destination\n");
    let server = format!("deliver = \"smtp:{}\"", postfix.addr());
    let home = home_with(
        &dovecot,
        &format!("{server}\nrecipients = \"x@elsewhere.example\""),
    );
    run(&home, &["fetch"]).exits(75).says(&[
        "RCPT TO",
        "554 5.7.1",
        "Relay access denied",
        "x@elsewhere.example",
    ]);
    assert_eq!(dovecot.messages().len(), 3);
    run(&home, &["fetch"])
        .exits(75)
        .says(&["set aside for now", "Relay access denied"]);
}

fn dovecot_gets_every_message_by_lmtp() {
    let messages = mail::small(60);
    let dovecot = Dovecot::start(&messages);
    let other = Dovecot::start_with_lmtp();
    let deliver = format!(
        "deliver = \"lmtp:{}\"\nrecipients = \"msingh\"",
        other.lmtp_socket().display()
    );
    let home = home_with(&dovecot, &deliver);
    run(&home, &["check"]).exits(0).prints(&["can take mail"]);
    run(&home, &["fetch"]).exits(0).prints(&["60 new"]);
    assert_ends(&other.messages(), &messages);
    assert_eq!(dovecot.messages(), Vec::<Vec<u8>>::new());
}

fn dovecot_knows_who_is_there_by_lmtp() {
    let messages = mail::small(2);
    let dovecot = Dovecot::start(&messages);
    let other = Dovecot::start_with_lmtp();
    let deliver = format!(
        "deliver = \"lmtp:{}\"\nrecipients = [\"msingh\", \"nobody-there\"]",
        other.lmtp_socket().display()
    );
    let home = home_with(&dovecot, &deliver);
    run(&home, &["fetch"])
        .exits(75)
        .says(&["nobody-there@localhost", "550 5.1.1"]);
    // Who is there has it, and does not get it again.
    assert_eq!(other.messages().len(), 2);
    run(&home, &["fetch"]).exits(75);
    assert_eq!(other.messages().len(), 2);
    assert_eq!(dovecot.messages().len(), 2);
}

/// Makes the rules of an agent that deliver into a Maildir, and returns its command.
type CommandFor = fn(&Path) -> String;

fn agents_deliver() {
    let _remove = if_new(OF_ROOT);
    let messages = mail::small(20);
    let agents: [(&str, CommandFor); 2] = [
        ("procmail", |maildir| {
            let rules = maildir.with_extension("procmailrc");
            fs::write(&rules, format!(":0\n{}/\n", maildir.display())).unwrap();
            format!("mda:procmail {}", rules.display())
        }),
        ("maildrop", |maildir| {
            let filter = maildir.with_extension("mailfilter");
            fs::write(&filter, format!("to \"{}\"\n", maildir.display())).unwrap();
            fs::set_permissions(&filter, fs::Permissions::from_mode(0o600)).unwrap();
            format!("mda:maildrop {}", filter.display())
        }),
    ];
    for (agent, command) in agents {
        let dovecot = Dovecot::start(&messages);
        let home = home_with(&dovecot, "");
        let maildir = home.path().join("Delivered");
        for part in ["", "new", "cur", "tmp"] {
            fs::create_dir(maildir.join(part)).unwrap();
        }
        let command = command(&maildir);
        configure(&home, &dovecot, &format!("deliver = '{command}'"));
        run(&home, &["check"]).exits(0).prints(&[agent]);
        let ended = run(&home, &["fetch"]);
        assert!(ended.status.success(), "{agent}: {}", ended.text());
        assert_ends(&home::maildir_messages(&maildir), &messages);
        assert_eq!(dovecot.messages(), Vec::<Vec<u8>>::new(), "{agent}");
    }
}

fn dovecot_lda_delivers_to_who_is_there() {
    let messages = mail::small(20);
    let dovecot = Dovecot::start(&messages);
    let other = Dovecot::start(Vec::<Vec<u8>>::new());
    // Its users are its own, so root says as whom it runs.
    let deliver = |recipient: &str| {
        format!(
            "deliver = {{ mda = [\"/usr/lib/dovecot/dovecot-lda\", \"-c\", \"{}\", \"-d\", \"%T\", \
             \"-f\", \"%F\"], user = \"root\" }}\nrecipients = \"{recipient}\"",
            other.config().display()
        )
    };
    let home = home_with(&dovecot, &deliver("nobody-there"));
    run(&home, &["fetch"])
        .exits(75)
        .says(&["exit code 67, no such user"]);
    assert_eq!(dovecot.messages().len(), 20);
    fs::remove_dir_all(home.state_dir()).unwrap();
    configure(&home, &dovecot, &deliver("msingh"));
    run(&home, &["fetch"]).exits(0).prints(&["20 new"]);
    assert_ends(&other.messages(), &messages);
    assert_eq!(dovecot.messages(), Vec::<Vec<u8>>::new());
}

fn procmail_and_posthole_share_an_mbox() {
    let _remove = if_new(OF_ROOT);
    let messages = mail::small(80);
    let dovecot = Dovecot::start(&messages);
    let home = home_with(&dovecot, "deliver = \"mbox:~/mbox\"");
    let mbox = home.path().join("mbox");
    fs::write(&mbox, "").unwrap();
    fs::set_permissions(&mbox, fs::Permissions::from_mode(0o600)).unwrap();
    let rules = home.path().join("rules");
    let text = format!("LOCKSLEEP=1\n:0:\n{}\n", mbox.display());
    fs::write(&rules, text).unwrap();
    let fetching = start(&home, &["fetch"]);
    for number in 0..40 {
        let mut procmail = Command::new("procmail")
            .args(["-f", "-"])
            .arg(&rules)
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = procmail.stdin.take().unwrap();
        write!(stdin, "Subject: procmail {number}\n\nby procmail\n").unwrap();
        drop(stdin);
        assert!(procmail.wait().unwrap().success());
    }
    // It may have said that it waits for the lock.
    let ended = crate::world::end(fetching);
    assert!(ended.status.success(), "{}", ended.text());
    let content = fs::read(&mbox).unwrap();
    let starts = |what: &[u8]| {
        content
            .split(|octet| *octet == b'\n')
            .filter(|line| line.starts_with(what))
            .count()
    };
    assert_eq!(starts(b"From "), 120);
    assert_eq!(starts(b"by procmail"), 40);
    for message in &messages {
        let text = mail::delivered(message);
        let text = String::from_utf8_lossy(&text).replace("\nFrom ", "\n>From ");
        assert!(
            String::from_utf8_lossy(&content).contains(&text),
            "a message is not whole: {text}"
        );
    }
    assert!(!home.path().join("mbox.lock").exists());
}

/// A folder like Debian's `/var/mail`.
fn mail_folder(home: &Home) -> PathBuf {
    let folder = home.path().join("var-mail");
    fs::create_dir(&folder).unwrap();
    chown(&folder, None, Some(group("mail"))).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).unwrap();
    // Others must be able to get there.
    for path in folder.ancestors().skip(1) {
        if path.starts_with(std::env::temp_dir()) && path != std::env::temp_dir() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    folder
}

fn group(name: &str) -> u32 {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let line = groups
        .lines()
        .find(|line| line.starts_with(&format!("{name}:")));
    line.unwrap().split(':').nth(2).unwrap().parse().unwrap()
}

fn root_delivers_into_the_mail_folder_of_a_user() {
    let messages = mail::small(5);
    let dovecot = Dovecot::start(&messages);
    let home = home_with(&dovecot, "");
    let mbox = mail_folder(&home).join("nobody");
    let deliver = format!(
        "deliver = \"mbox:{}\"\nrecipients = \"nobody\"",
        mbox.display()
    );
    configure(&home, &dovecot, &deliver);
    run(&home, &["check"]).exits(0);
    run(&home, &["fetch"]).exits(0).prints(&["5 new"]);
    let metadata = fs::metadata(&mbox).unwrap();
    assert_eq!(metadata.uid(), 65_534);
    assert_eq!(metadata.gid(), group("mail"));
    assert_eq!(metadata.mode() & 0o7777, 0o660);
    assert!(!mbox.with_extension("lock").exists());

    // What somebody else has put there is left alone.
    fs::remove_file(&mbox).unwrap();
    let bait = home.path().join("bait");
    std::os::unix::fs::symlink(&bait, &mbox).unwrap();
    std::os::unix::fs::lchown(&mbox, Some(1), None).unwrap();
    dovecot.add(&mail::tiny(1));
    run(&home, &["fetch"])
        .exits(78)
        .says(&["is a link of another user"]);
    assert!(!bait.exists());
    fs::remove_file(&mbox).unwrap();
    fs::write(&mbox, "").unwrap();
    run(&home, &["fetch"])
        .exits(78)
        .says(&["belongs to user 0"]);
    assert_eq!(dovecot.messages().len(), 1);
}

/// As an ordinary user, who may write his mailbox in `/var/mail` and make no file there.
fn a_user_locks_his_mailbox_in_the_mail_folder() {
    // The helper serves the real one only.
    let mbox = Path::new("/var/mail/games");
    if mbox.exists() {
        return;
    }
    let _remove = Remove(mbox);
    fs::write(mbox, "").unwrap();
    chown(mbox, Some(5), Some(group("mail"))).unwrap();
    fs::set_permissions(mbox, fs::Permissions::from_mode(0o660)).unwrap();

    let messages = mail::small(3);
    let dovecot = Dovecot::start(&messages);
    let home = home_with(&dovecot, &format!("deliver = \"mbox:{}\"", mbox.display()));
    let give = Command::new("chown")
        .arg("-R")
        .arg("games")
        .arg(home.path().parent().unwrap())
        .status();
    assert!(give.unwrap().success());
    // The program may lie where that user cannot get to.
    let program = home.path().join("posthole");
    fs::copy(BIN, &program).unwrap();
    let mut command = home.posthole(Path::new("setpriv"));
    command.args(["--reuid", "games", "--regid", "60", "--clear-groups"]);
    let output = command.arg(&program).arg("fetch").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let content = fs::read_to_string(mbox).unwrap();
    assert_eq!(
        content
            .lines()
            .filter(|line| line.starts_with("From "))
            .count(),
        3
    );
    assert!(!Path::new("/var/mail/games.lock").exists());

    // While a mail program has it locked, nothing is written.
    fs::write("/var/mail/games.lock", "1\n").unwrap();
    let _remove_lock = Remove(Path::new("/var/mail/games.lock"));
    let mut command = home.posthole(Path::new("setpriv"));
    command.args(["--reuid", "games", "--regid", "60", "--clear-groups"]);
    let output = command.arg(&program).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("its lock file is there"), "{said}");
}

/// Run by root, procmail makes this file whatever it is told.
const OF_ROOT: &str = "/var/mail/root";

fn if_new(path: &'static str) -> Option<Remove> {
    (!Path::new(path).exists()).then(|| Remove(Path::new(path)))
}

struct Remove(&'static Path);

impl Drop for Remove {
    fn drop(&mut self) {
        fs::remove_file(self.0).ok();
    }
}

fn a_full_disk_leaves_an_mbox_as_it_was() {
    let messages = mail::attachments(6, 60_000);
    let dovecot = Dovecot::start(&messages);
    let home = home_with(&dovecot, "deliver = \"mbox:~/small/mbox\"");
    let small = home.path().join("small");
    fs::create_dir(&small).unwrap();
    // In a mount namespace of its own, so that nothing is left mounted.
    let script = format!(
        "set -e; mount -t tmpfs -o size=204800 tmpfs {small}
         printf 'From x y\\n\\nold\\n\\n' > {small}/mbox; chmod 600 {small}/mbox
         status=0; {BIN} fetch || status=$?
         cp {small}/mbox {home}/copy; ls -A {small} > {home}/list; exit $status",
        small = small.display(),
        home = home.path().display(),
    );
    let mut command = home.posthole(Path::new("unshare"));
    let output = command
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("make room on the disk"), "{said}");
    let copy = fs::read_to_string(home.path().join("copy")).unwrap();
    assert_eq!(copy, "From x y\n\nold\n\n");
    assert_eq!(
        fs::read_to_string(home.path().join("list")).unwrap(),
        "mbox\n"
    );
    assert_eq!(dovecot.messages().len(), 6);
    // With room, everything arrives.
    run(&home, &["fetch"]).exits(0).prints(&["6 new"]);
}

fn a_batch_on_standard_output_is_nothing_but_a_batch() {
    let messages = mail::small(3);
    let dovecot = Dovecot::start(&messages);
    let home = home_with(&dovecot, "deliver = \"bsmtp:-\"");
    let ended = run(&home, &["fetch"]);
    assert!(ended.status.success(), "{}", ended.text());
    assert!(ended.stdout.starts_with("MAIL FROM:<"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("\r\n.\r\n"), "{}", ended.stdout);
    assert_eq!(
        ended
            .stdout
            .matches("\r\nRCPT TO:<msingh@localhost>\r\n")
            .count(),
        3
    );
    assert!(ended.stderr.contains("3 new"), "{}", ended.stderr);
}
