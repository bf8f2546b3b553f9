//! Mailboxes that another program has fetched from: what it has seen is taken over, and does not come
//! again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use posthole_testkit::pop3::{Maildrop, Pop3Server};
use posthole_testkit::real::{Requirement, Suite};
use posthole_testkit::{Home, World, mail};

use crate::world::run;

pub(crate) fn tests(suite: Suite) -> Suite {
    let test = |suite: Suite, name, requirement, left: fn(&Home, u16) -> Left| {
        suite.test(name, &[requirement, Requirement::NssWrapper], move || {
            takes_over(left);
        })
    };
    let suite = test(
        suite,
        "what_fetchmail_has_fetched_is_taken_over",
        Requirement::Fetchmail,
        fetchmail,
    );
    let suite = test(
        suite,
        "what_mpop_has_fetched_is_taken_over",
        Requirement::Mpop,
        mpop,
    );
    let suite = test(
        suite,
        "what_getmail_has_fetched_is_taken_over",
        Requirement::Getmail,
        getmail,
    );
    test(
        suite,
        "what_fdm_has_fetched_is_taken_over",
        Requirement::Fdm,
        fdm,
    )
}

/// What a program has left behind.
struct Left {
    file: PathBuf,
    /// What has to be said about the file.
    args: &'static [&'static str],
}

fn takes_over(left: fn(&Home, u16) -> Left) {
    let maildrop = Maildrop::of(mail::small(20));
    for uid in ["<a@b.c>", "#1", "~!@$%^&*()", "with:colon"] {
        maildrop.add_with_uid(uid.as_bytes(), mail::tiny(7));
    }
    let server = Pop3Server::builder()
        .account(Home::USER, World::MAIL_PASSWORD, &maildrop)
        .start();
    let home = Home::new();
    let Left { file, args } = left(&home, server.port());
    assert_eq!(maildrop.uids().len(), 24, "it was to keep them");

    home.write_password(World::MAIL_PASSWORD);
    home.write_config(&format!(
        "[account.work]\nserver = \"pop3://{}@127.0.0.1:{}\"\ntls = \"never\"\n\
         password = {{ file = \"~/mail-password\" }}\ndeliver = \"maildir:~/Mail\"\n",
        Home::USER,
        server.port()
    ));
    let import = [&["import"], args, &[file.to_str().unwrap()]].concat();
    run(&home, &import).exits(0);
    let new = mail::tiny(8);
    maildrop.add_with_uid(*b"new", new.clone());
    run(&home, &["fetch"]).exits(0);
    home.assert_delivered([new]);
    // It is not ours to delete.
    assert_eq!(maildrop.uids().len(), 25);
}

fn fetchmail(home: &Home, port: u16) -> Left {
    let rcfile = write(
        home,
        "rc",
        &format!(
            "poll 127.0.0.1 port {port} proto pop3 auth password uidl\nuser \"{}\" pass \"{}\" \
             sslproto \"\" keep mda \"cat >/dev/null\"\n",
            Home::USER,
            World::MAIL_PASSWORD
        ),
    );
    finish(
        command("fetchmail", home)
            .args(["-s", "-f"])
            .arg(rcfile)
            .env("FETCHMAILHOME", home.path()),
    );
    Left {
        file: home.path().join(".fetchids"),
        args: &[],
    }
}

fn mpop(home: &Home, port: u16) -> Left {
    let file = home.path().join("uidls");
    let config = write(
        home,
        "mpoprc",
        &format!(
            "account a\nhost 127.0.0.1\nport {port}\nuser {}\npassword \"{}\"\nauth user\ntls off\n\
             keep on\nuidls_file {}\ndelivery mbox {}\n",
            Home::USER,
            World::MAIL_PASSWORD,
            file.display(),
            home.path().join("mpop-mbox").display()
        ),
    );
    finish(
        command("mpop", home)
            .args(["-q", "-C"])
            .arg(config)
            .arg("a"),
    );
    Left { file, args: &[] }
}

fn getmail(home: &Home, port: u16) -> Left {
    let dir = home.path().join("getmail");
    fs::create_dir(&dir).unwrap();
    let config = write(
        home,
        "getmail/getmailrc",
        &format!(
            "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\n\
             username = {}\npassword = {}\n[destination]\ntype = MDA_external\npath = /bin/cat\n\
             allow_root_commands = true\n[options]\nread_all = false\ndelete = false\n",
            Home::USER,
            World::MAIL_PASSWORD
        ),
    );
    finish(
        command("getmail", home)
            .arg("--quiet")
            .arg("--getmaildir")
            .arg(&dir)
            .arg("--rcfile")
            .arg(config),
    );
    let mut files = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_oldmail = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with("oldmail-")
    };
    Left {
        file: files.find(is_oldmail).unwrap(),
        args: &[],
    }
}

fn fdm(home: &Home, port: u16) -> Left {
    // Run by root, it reads and writes its cache as a user of its own.
    let dir = home.path().join("fdm");
    fs::create_dir(&dir).unwrap();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(home.path().parent().unwrap(), 0o711);
    open(&home.path(), 0o711);
    open(&dir, 0o777);
    let file = dir.join("cache");
    let config = write(
        home,
        "fdm.conf",
        &format!(
            "set default-user \"root\"\nset lock-file \"{}\"\n\
             account \"a\" pop3 server \"127.0.0.1\" port {port} user \"{}\" pass \"{}\" \
             new-only cache \"{}\" keep\n\
             action \"take\" maildir \"{}\"\nmatch all action \"take\"\n",
            home.path().join("fdm.lock").display(),
            Home::USER,
            World::MAIL_PASSWORD,
            file.display(),
            maildir(home, "fdm-mail").display()
        ),
    );
    finish(
        command("fdm", home)
            .arg("-f")
            .arg(config)
            .arg("fetch")
            .env("TMPDIR", &dir),
    );
    // A cache does not say whose it is, nor does its name.
    Left {
        file,
        args: &["--format", "fdm", "--account", "work"],
    }
}

fn maildir(home: &Home, name: &str) -> PathBuf {
    let maildir = home.path().join(name);
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder)).unwrap();
    }
    maildir
}

fn command(program: &str, home: &Home) -> Command {
    let mut command = home.command_as_user(Path::new(program));
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn finish(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

fn write(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
