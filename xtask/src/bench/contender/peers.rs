//! The peers and their configuration files.
//!
//! Each is told to keep the mail on the server, to add no header where it can be told so, and to
//! spend no time on anything but fetching: no filters, no locks, no mail to root.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use posthole_testkit::real::Dovecot;

use super::Attempt;
use crate::bench::stage::Stage;

/// mpop(1), pipelining as the server offers it.
pub(super) fn mpop(stage: &Stage, fresh: &Path) -> Result<Attempt, String> {
    let maildir = fresh.join("Mail");
    let port = stage.tunnel().pop3_port();
    let command = mpop_through(stage, port, &[(Dovecot::USER, &maildir)], fresh)?;
    Ok(program(command, maildir))
}

/// mpop(1) for several users, one after the other, through a tunnel at this port.
pub(in crate::bench) fn mpop_through(
    stage: &Stage,
    port: u16,
    mailboxes: &[(&str, &Path)],
    fresh: &Path,
) -> Result<Command, String> {
    let mut config = format!(
        "defaults\n\
         host 127.0.0.1\n\
         port {port}\n\
         tls off\n\
         auth user\n\
         password \"{}\"\n\
         keep on\n\
         received_header off\n",
        Dovecot::PASSWORD,
    );
    for (user, maildir) in mailboxes {
        empty_maildir(maildir)?;
        config += &format!(
            "account {user}\n\
             user {user}\n\
             uidls_file {}\n\
             delivery maildir {}\n",
            fresh.join(format!("uidls-{user}")).display(),
            maildir.display(),
        );
    }
    let config = write_config(fresh, &config)?;
    let mut command = stage.home().posthole(Path::new("mpop"));
    command.arg("--quiet").arg("--file").arg(config);
    command.arg("--all-accounts");
    Ok(command)
}

/// mbsync(1), whose states and messages it syncs to disk unless told otherwise, as by default.
pub(super) fn mbsync(stage: &Stage, fresh: &Path) -> Result<Attempt, String> {
    let root = fresh.join("mbsync");
    make_dir(&root)?;
    let config = format!(
        "IMAPAccount bench\n\
         Host 127.0.0.1\n\
         Port {}\n\
         User {}\n\
         Pass \"{}\"\n\
         SSLType None\n\
         AuthMechs LOGIN\n\
         \n\
         IMAPStore far\n\
         Account bench\n\
         \n\
         MaildirStore near\n\
         Path {root}/\n\
         Inbox {root}/INBOX\n\
         \n\
         Channel bench\n\
         Far :far:\n\
         Near :near:\n\
         Create Near\n\
         Sync Pull\n\
         SyncState *\n",
        stage.tunnel().imap_port()?,
        Dovecot::USER,
        Dovecot::PASSWORD,
        root = root.display(),
    );
    let config = write_config(fresh, &config)?;
    let mut command = stage.home().posthole(Path::new("mbsync"));
    command
        .arg("--quiet")
        .arg("--config")
        .arg(config)
        .arg("bench");
    Ok(program(command, root.join("INBOX")))
}

/// fdm(1), without its memory of what it fetched before, which spares it writing that.
pub(super) fn fdm(stage: &Stage, fresh: &Path) -> Result<Attempt, String> {
    let maildir = fresh.join("Mail");
    empty_maildir(&maildir)?;
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root {
        "set default-user \"root\"\n"
    } else {
        ""
    };
    let config = format!(
        "{user}\
         set no-received\n\
         set lock-file \"{fresh}/lock\"\n\
         set maximum-size 1G\n\
         action \"deliver\" maildir \"{}\"\n\
         account \"bench\" pop3 server \"127.0.0.1\" port {} user \"{}\" pass \"{}\" \
         no-apop keep\n\
         match all action \"deliver\"\n",
        maildir.display(),
        stage.tunnel().pop3_port(),
        Dovecot::USER,
        Dovecot::PASSWORD,
        fresh = fresh.display(),
    );
    let config = write_config(fresh, &config)?;
    let mut command = stage.home().posthole(Path::new("fdm"));
    if is_root {
        // It fetches as a user of its own, who cannot enter the home directory.
        command.env("TMPDIR", "/tmp");
    }
    command.arg("-q").arg("-f").arg(config).arg("fetch");
    Ok(program(command, maildir))
}

/// fetchmail(1) with a shell as delivery agent, which does nothing but write the file.
///
/// A real agent, or a local mail server, costs more.
pub(super) fn fetchmail(stage: &Stage, fresh: &Path) -> Result<Attempt, String> {
    let maildir = fresh.join("Mail");
    empty_maildir(&maildir)?;
    let config = format!(
        "set no syslog\n\
         set no bouncemail\n\
         set invisible\n\
         poll 127.0.0.1 protocol pop3 port {}\n\
         user \"{}\" password \"{}\" keep sslproto \"\" no rewrite\n\
         mda \"cat >{}/new/$$\"\n",
        stage.tunnel().pop3_port(),
        Dovecot::USER,
        Dovecot::PASSWORD,
        maildir.display(),
    );
    let config = write_config(fresh, &config)?;
    let mut command = stage.home().posthole(Path::new("fetchmail"));
    command
        .env("FETCHMAILHOME", fresh)
        .args(["--silent", "--nodetach", "--all"])
        .arg("--idfile")
        .arg(fresh.join("fetchids"))
        .arg("--fetchmailrc")
        .arg(config);
    Ok(program(command, maildir))
}

fn program(command: Command, maildir: PathBuf) -> Attempt {
    Attempt::Program {
        command: Box::new(command),
        maildir,
    }
}

/// Most peers want the Maildir to be there.
fn empty_maildir(maildir: &Path) -> Result<(), String> {
    for part in ["tmp", "new", "cur"] {
        make_dir(&maildir.join(part))?;
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), String> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))
}

/// All of them refuse a file with a password that others can read.
fn write_config(fresh: &Path, text: &str) -> Result<PathBuf, String> {
    let path = fresh.join("config");
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}
