//! A Kerberos realm: MIT's KDC with one user and the POP3 service of `localhost`.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::program;

/// A real KDC on a loopback port, of a realm of its own.
///
/// Whoever is to know of the realm gets [`config`](Self::config) as `KRB5_CONFIG`.
///
/// ```no_run
/// use posthole_testkit::{mail, real::{Dovecot, Kdc}};
///
/// let kdc = Kdc::start();
/// let dovecot = Dovecot::start_with(mail::corpus(1, 10), &kdc.dovecot_options());
/// let tickets = kdc.ticket(Dovecot::USER);
/// // … run a client with KRB5_CONFIG and KRB5CCNAME …
/// ```
#[derive(Debug)]
pub struct Kdc {
    // Before the directory, so that the daemon ends first.
    _daemon: Daemon,
    dir: TempDir,
}

impl Kdc {
    /// The realm.
    pub const REALM: &'static str = "POSTHOLE.TEST";

    /// Makes a realm with the users `msingh` and `stranger`, and starts its KDC.
    ///
    /// # Panics
    ///
    /// When that fails, or [`Requirement::Kdc`](super::Requirement::Kdc) is missing.
    #[must_use]
    pub fn start() -> Self {
        let dir = daemon::shared_dir("ph-kdc-");
        let path = dir.path().to_owned();
        write_config(&path, 0);
        let run = |name: &str, arguments: &[&str]| {
            let mut command = Command::new(program(name));
            with_realm(&mut command, &path).args(arguments);
            finish(name, &mut command, "");
        };
        run("kdb5_util", &["create", "-s", "-r", Self::REALM, "-P", "m"]);
        let keytab = path.join("keytab");
        for query in [
            format!("addprinc -pw {PASSWORD} msingh"),
            format!("addprinc -pw {PASSWORD} stranger"),
            "addprinc -randkey pop/localhost".to_owned(),
            format!("ktadd -k {} pop/localhost", keytab.display()),
        ] {
            run("kadmin.local", &["-r", Self::REALM, "-q", &query]);
        }
        make_readable(&keytab);

        let daemon = daemon::with_free_port("krb5kdc", |port| {
            write_config(&path, port);
            let mut command = Command::new(program("krb5kdc"));
            with_realm(&mut command, &path).args(["-n", "-r", Self::REALM]);
            command.arg("-P").arg(path.join("pid"));
            let mut daemon = Daemon::start("krb5kdc", &mut command, &path.join("log"));
            let ready = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            if daemon.wait_until(ready) {
                Ok(daemon)
            } else {
                Err(daemon.log_text())
            }
        });
        Self {
            _daemon: daemon,
            dir,
        }
    }

    /// The configuration file that tells of the realm, for `KRB5_CONFIG`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("krb5.conf")
    }

    /// Gets a ticket as kinit(1) does, and returns the file it is in, for `KRB5CCNAME`.
    ///
    /// # Panics
    ///
    /// When the KDC gives none.
    #[must_use]
    pub fn ticket(&self, user: &str) -> PathBuf {
        let cache = self.dir.path().join(format!("tickets-of-{user}"));
        let mut command = Command::new(program("kinit"));
        with_realm(&mut command, self.dir.path());
        command.arg("-c").arg(&cache).arg(user);
        finish("kinit", &mut command, PASSWORD);
        cache
    }

    /// What Dovecot must be told to take tickets of this realm, and no passwords.
    #[must_use]
    pub fn dovecot_options(&self) -> String {
        format!(
            "auth_mechanisms = gssapi\n\
             auth_krb5_keytab = {}\n\
             auth_gssapi_hostname = localhost\n\
             import_environment = TZ KRB5_CONFIG={}\n",
            self.dir.path().join("keytab").display(),
            self.config().display(),
        )
    }
}

fn write_config(dir: &Path, port: u16) {
    let realm = Kdc::REALM;
    // Nothing is asked of DNS. A user of the realm is the local one of that name, without looking
    // for a local account, which the tests' users are not.
    let client = format!(
        "[libdefaults]\n\
         \x20default_realm = {realm}\n\
         \x20default_rcache_name = none:\n\
         \x20dns_canonicalize_hostname = false\n\
         \x20dns_lookup_kdc = false\n\
         \x20dns_lookup_realm = false\n\
         \x20dns_uri_lookup = false\n\
         \x20qualify_shortname = \"\"\n\
         \x20rdns = false\n\
         [realms]\n\
         \x20{realm} = {{\n\
         \x20 kdc = 127.0.0.1:{port}\n\
         \x20}}\n\
         [domain_realm]\n\
         \x20localhost = {realm}\n\
         [plugins]\n\
         \x20localauth = {{\n\
         \x20 disable = k5login\n\
         \x20}}\n"
    );
    let shown = dir.display();
    let server = format!(
        "[kdcdefaults]\n\
         \x20kdc_listen = 127.0.0.1:{port}\n\
         \x20kdc_tcp_listen = 127.0.0.1:{port}\n\
         [realms]\n\
         \x20{realm} = {{\n\
         \x20 acl_file = {shown}/acl\n\
         \x20 database_name = {shown}/principal\n\
         \x20 key_stash_file = {shown}/stash\n\
         \x20}}\n\
         [logging]\n\
         \x20kdc = STDERR\n\
         \x20admin_server = STDERR\n"
    );
    for (name, text) in [("krb5.conf", client), ("kdc.conf", server)] {
        let path = dir.join(name);
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        make_readable(&path);
    }
}

fn with_realm<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command
        .env("KRB5_CONFIG", dir.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", dir.join("kdc.conf"))
        .env_remove("KRB5CCNAME")
}

/// Runs a command to its end, with one line on its standard input.
fn finish(name: &str, command: &mut Command, input: &str) {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        // It may not want to read.
        writeln!(stdin, "{input}").ok();
    }
    let output = child
        .wait_with_output()
        .expect("the child can be waited for");
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    assert!(
        output.status.success(),
        "{name} {arguments:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Lets the users that daemons become read a file.
fn make_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        .unwrap_or_else(|error| panic!("cannot open {} to all: {error}", path.display()));
}

const PASSWORD: &str = "ticket-secret-3";
