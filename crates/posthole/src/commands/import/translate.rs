//! An rc file as a configuration of ours, with the reason for each line.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use posthole_core::config::{ServerUrl, SshTarget};
use posthole_core::fetchmailrc::Configuration;
use posthole_core::plan::{
    Auth, Authorities, DeliverTo, Errand, Job, Keep, MdaCommand, PasswordSource, RcPlan, Route,
    SmtpServer, SmtpTo, SystemStore, TlsStart,
};
use secrecy::ExposeSecret;

/// Appends a line; a `String` always takes it.
macro_rules! push {
    ($text:expr, $($arguments:tt)*) => {
        _ = writeln!($text, $($arguments)*)
    };
}

mod edits;

/// An rc file in words of ours.
pub(super) struct Translation {
    pub(super) text: String,
    /// What has no counterpart, a line each.
    pub(super) lost: Vec<String>,
}

/// Translates what an rc file comes to; `path` is where it is.
pub(super) fn toml(
    path: &str,
    configuration: &Configuration,
    plan: &RcPlan,
    skipped: &[String],
) -> Translation {
    let mut text = String::new();
    let mut lost = Vec::new();
    push!(text, "# Made of {} by posthole import.", one_line(path));
    push!(
        text,
        "# It holds what that file holds: keep it to yourself (chmod 600), and take passwords from"
    );
    push!(
        text,
        "# elsewhere if you can; posthole.toml(5) says from where, below PASSWORDS."
    );
    let every = configuration.globals.poll_interval;
    if every > 0 {
        push!(text, "\n[defaults]");
        push!(text, "every = \"{every}s\"  # set daemon {every}");
    }
    let mut names = HashSet::new();
    let mut hosts = HashSet::new();
    for errand in &plan.errands {
        match errand {
            Ok(errand) => {
                let name = name(errand, &mut names);
                push!(text, "");
                if skipped.contains(&errand.who.entry) {
                    push!(text, "# `skip`: this was polled only when it was named.");
                }
                let mut lose = |text: &mut String, what: &str| {
                    let what = one_line(what);
                    push!(text, "# This has no counterpart here: {what}");
                    lost.push(format!("{name}: {what}"));
                };
                account(&mut text, &name, errand, every, &mut lose);
                ssh(&mut text, errand, &mut hosts);
            }
            Err(undoable) => {
                let user = &undoable.who.user;
                push!(
                    text,
                    "\n# Left out: {} at {}. {}",
                    one_line(&user.to_string()),
                    one_line(&undoable.who.entry),
                    one_line(&undoable.why.message)
                );
            }
        }
    }
    Translation { text, lost }
}

/// What only an rc file can say of a server that takes mail.
fn lose_of_smtp(text: &mut String, to: &SmtpTo, lose: &mut dyn FnMut(&mut String, &str)) {
    if let Some(SmtpServer::Plugin(_, words)) = to.servers.first() {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        lose(text, &format!("plugout {}", words.join(" ")));
    }
    let Some(rules) = &to.undeliverable else {
        return;
    };
    if !rules.stays {
        lose(text, "set no softbounce; what is refused for good stays");
    }
    if rules.reports_spam {
        lose(text, "set spambounce");
    }
}

/// `every` is how often all servers are polled, in seconds; `lose` takes what has no counterpart.
fn account(
    text: &mut String,
    name: &str,
    errand: &Errand,
    every: u32,
    lose: &mut dyn FnMut(&mut String, &str),
) {
    let Errand {
        job,
        who: _,
        preconnect,
        postconnect,
        via,
        ssh_settings: _,
        tunnel_for: _,
        interval,
        interface,
        monitor,
        warnings,
    } = errand;
    // No `..`, so that whoever adds a field decides what is written for it.
    let Job {
        account: _,
        mailbox: _,
        user,
        server: host,
        route,
        auth,
        password: secret,
        keep,
        select,
        filter: _,
        max_size: _,
        edits,
        multidrop,
        every: _,
        timeout,
        deliver: destinations,
        allow_plaintext: _,
        tls: tls_settings,
    } = job;
    push!(text, "[account.{}]", key(name));
    let is_tls = tls_settings.start == TlsStart::AtOnce;
    let usual = if is_tls { 995 } else { 110 };
    let server = ServerUrl {
        is_tls,
        user: Some(user.clone()),
        host: host.host.clone(),
        port: (host.port != usual).then_some(host.port),
    };
    let server_is = match (via, is_tls) {
        (Some(_), _) => "poll and port; the server as the SSH host sees it",
        (None, true) => "poll, user and ssl",
        (None, false) => "poll and user",
    };
    push!(
        text,
        "server = {}  # {server_is}",
        quoted(&server.to_string())
    );
    if let (Some(via), Route::Ssh(_)) = (via, route) {
        push!(
            text,
            "via = {}  # instead of the ssh command: no process, no port, no sleep",
            quoted(&via.to_string())
        );
    }
    for (what, command) in [("preconnect", preconnect), ("postconnect", postconnect)] {
        if let Some(command) = command {
            lose(text, &format!("{what} {command}"));
        }
    }
    if let Route::Plugin(words) = route {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        lose(text, &format!("plugin {}", words.join(" ")));
    }
    if let Some(interface) = interface {
        lose(text, &format!("interface {interface}"));
    }
    if let Some(monitor) = monitor {
        lose(text, &format!("monitor {monitor}"));
    }
    if *warnings != USUAL_WARNINGS {
        lose(text, &format!("warnings {}", warnings.as_secs()));
    }
    for destination in destinations {
        if let DeliverTo::Smtp(to) = destination {
            lose_of_smtp(text, to, lose);
        }
    }
    match (*interval, every) {
        (0 | 1, _) => {}
        (interval, 0) => lose(text, &format!("interval {interval}")),
        (interval, every) => push!(
            text,
            "every = \"{}s\"  # interval {interval}, times set daemon {every}",
            u64::from(interval) * u64::from(every)
        ),
    }
    if *auth != Auth::Auto {
        push!(text, "auth = {}  # auth", quoted(&auth.to_string()));
    }
    password(text, secret);
    match keep {
        Keep::Never => push!(
            text,
            "keep = false  # fetchmail deletes what it fetched unless told to keep it"
        ),
        _ => push!(text, "keep = true  # keep"),
    }
    edits::select(text, *select);
    edits::edits(text, edits);
    if let Some(multidrop) = multidrop {
        edits::multidrop(text, multidrop, &host.host);
    }
    let timeout = timeout.as_secs();
    if timeout <= 24 * 60 * 60 {
        push!(
            text,
            "timeout = \"{timeout}s\"  # timeout; without a word fetchmail waits 300 seconds"
        );
    } else {
        push!(
            text,
            "timeout = \"1d\"  # timeout 0; longer is not possible"
        );
    }
    tls(text, errand, lose);
    for to in destinations {
        deliver(text, to, multidrop.is_some());
        let mut lost = Vec::new();
        edits::handing_over(text, to, &mut |what| lost.push(what));
        for what in lost {
            lose(text, &what);
        }
    }
}

fn password(text: &mut String, password: &PasswordSource) {
    match password {
        PasswordSource::Command(command) => push!(
            text,
            "password = {{ command = {} }}  # passwordeval",
            quoted(command)
        ),
        PasswordSource::File(path) => push!(
            text,
            "password = {{ file = {} }}  # passwordfile",
            quoted(&path.display().to_string())
        ),
        PasswordSource::Given { secret, origin: _ } => push!(
            text,
            "password = {{ literal = {} }}  # password",
            quoted(secret.expose_secret())
        ),
        PasswordSource::Netrc(_) => push!(
            text,
            "password = {{ netrc = true }}  # no password is written; \"prompt\" asks for it"
        ),
        _ => push!(text, "password = \"prompt\"  # no password is written"),
    }
}

fn tls(text: &mut String, errand: &Errand, lose: &mut dyn FnMut(&mut String, &str)) {
    let job = &errand.job;
    match job.tls.start {
        TlsStart::Required => push!(text, "tls = \"required\"  # as fetchmail tries STLS"),
        TlsStart::Never if job.allow_plaintext => {
            push!(text, "tls = \"never\"  # sslproto ''");
            if matches!(job.route, Route::Direct) {
                push!(text, "allow-plaintext = true  # sslproto ''");
            }
            return;
        }
        TlsStart::Never | TlsStart::AtOnce | TlsStart::IfOffered => {}
    }
    if job.tls.start == TlsStart::Never {
        return;
    }
    if job.tls.name != job.server.host {
        push!(
            text,
            "tls-name = {}  # sslcommonname",
            quoted(&job.tls.name)
        );
    }
    match &job.tls.authorities {
        Authorities::Files(files) => {
            for file in files {
                let file = quoted(&file.display().to_string());
                push!(text, "tls-ca-file = {file}  # sslcertfile");
            }
        }
        Authorities::System(SystemStore { file, directories }) => {
            if let Some(file) = file.as_ref().filter(|_| !directories.is_empty()) {
                lose(text, &format!("sslcertfile {}", file.display()));
            }
            for directory in directories {
                lose(text, &format!("sslcertpath {}", directory.display()));
            }
        }
    }
    if let Some(identity) = &job.tls.identity {
        let certificate = quoted(&identity.certificate.display().to_string());
        let key = quoted(&identity.key.display().to_string());
        push!(text, "tls-certificate = {certificate}  # sslcert");
        push!(text, "tls-key = {key}  # sslkey");
    }
}

fn deliver(text: &mut String, to: &DeliverTo, is_shared: bool) {
    let (written, recipients, remark) = match to {
        DeliverTo::Bsmtp(to) => {
            let path = to
                .path
                .as_ref()
                .map_or_else(|| "-".to_owned(), |path| path.display().to_string());
            (format!("bsmtp:{path}"), Some(&to.recipients), "bsmtp")
        }
        DeliverTo::Mda(to) => {
            let MdaCommand::Shell(command) = &to.command else {
                return;
            };
            match without_shell(command) {
                Some(command) => (format!("mda:{command}"), Some(&to.recipients), "mda"),
                None => {
                    let command = one_line(command);
                    push!(
                        text,
                        "# mda needs a shell, which there is none of here; put this into a script:\n\
                         #   {command}"
                    );
                    let script = "mda:/path/of/the/script".to_owned();
                    (script, Some(&to.recipients), "mda; %F and %T are arguments")
                }
            }
        }
        DeliverTo::Smtp(to) => {
            let lmtp = to.protocol == posthole_core::plan::SmtpProtocol::Lmtp;
            let kind = if lmtp { "lmtp" } else { "smtp" };
            let server = match &to.servers[0] {
                SmtpServer::Plugin(to, _) | SmtpServer::Tcp(to) => to.to_string(),
                SmtpServer::Unix(path) => path.display().to_string(),
            };
            if let Some(login) = &to.login {
                let user = one_line(&login.user);
                push!(
                    text,
                    "# esmtpname, esmtppassword: write deliver = {{ smtp = \"HOST\", user = \"{user}\", \
                     password = {{ … }} }} in place of the next line."
                );
            }
            let what = "smtphost; without a word it is this machine";
            (format!("{kind}:{server}"), Some(&to.recipients), what)
        }
        DeliverTo::Maildir(_) | DeliverTo::Mbox(_) => return,
    };
    push!(
        text,
        "deliver = {}  # {remark}; \"maildir:~/Mail\" needs no mail server",
        quoted(&written)
    );
    if let Some(recipients) = recipients.filter(|_| !is_shared) {
        let recipients: Vec<_> = recipients.iter().map(|name| quoted(name)).collect();
        push!(text, "recipients = [{}]  # is", recipients.join(", "));
    }
}

/// A command that means the same without a shell.
fn without_shell(command: &str) -> Option<String> {
    let special = |c: char| "$`~<>#\n|&;()*?[]{}=%\\".contains(c);
    let is_plain = !command
        .replace("%T", "")
        .replace("%F", "")
        .contains(special);
    let words = shell_words::split(command).ok()?;
    (is_plain && !words.is_empty()).then(|| command.trim().to_owned())
}

/// What the command says about an SSH host, once for each.
fn ssh(text: &mut String, errand: &Errand, hosts: &mut HashSet<String>) {
    let (Some(SshTarget { host, .. }), Route::Ssh(hops)) = (&errand.via, &errand.job.route) else {
        return;
    };
    if !hosts.insert(host.clone()) || errand.ssh_settings.is_empty() {
        return;
    }
    push!(text, "\n[ssh.{}]", key(host));
    for (keyword, value) in &errand.ssh_settings {
        let lower = keyword.to_ascii_lowercase();
        let shown = one_line(&format!("{keyword} {value}"));
        match lower.as_str() {
            "compression" => {
                let on = hops.last().is_some_and(|hop| hop.compression);
                push!(text, "compression = {on}  # -C");
            }
            "identityfile" => push!(text, "identity = {}  # -i", quoted(value)),
            _ => push!(
                text,
                "# Write this into ~/.ssh/config, below `Host {host}`: {shown}"
            ),
        }
    }
}

/// A name for the account that is not taken.
fn name(errand: &Errand, taken: &mut HashSet<String>) -> String {
    let plain = |text: &str| -> String {
        let allowed = |c: char| c.is_alphanumeric() || "-._".contains(c);
        let text: String = text
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .collect();
        text.trim_start_matches('-').to_owned()
    };
    let by_host = match &errand.via {
        Some(via) => plain(&via.host),
        None => plain(&errand.who.entry),
    };
    let by_user = format!("{}-{by_host}", plain(&errand.job.user));
    let numbered = (2..).map(|number| format!("{by_user}-{number}"));
    let mut names = [by_host, by_user.clone()].into_iter().chain(numbered);
    names
        .find(|name| !name.is_empty() && taken.insert(name.clone()))
        .unwrap_or(by_user)
}

/// A key of TOML, in quotes where it needs them.
fn key(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !text.is_empty() && text.chars().all(is_bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    json.replace('\u{7f}', "\\u007f")
}

/// For a comment, which ends at its line.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// How long fetchmail says nothing more of large messages if nothing is written.
const USUAL_WARNINGS: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use posthole_core::config::{self, Diagnostic};
    use posthole_core::fetchmailrc::{self, Flags, Request};
    use posthole_core::openssh::NoOpenSsh;
    use posthole_core::plan::{
        ConfigFile, Edits, Environment, Overrides, Plan, RcWishes, Select, Trace, resolve,
        resolve_rcfile,
    };

    use super::*;

    /// What the rc file comes to, and what its translation comes to.
    fn both(rc: &str) -> (RcPlan, Plan, Translation) {
        let (rcfile, _) = fetchmailrc::parse(rc.as_bytes());
        let request = Request {
            check_all: true,
            flags: Flags::default(),
            hostname: "here".into(),
            idfile: "ids".into(),
            names: Vec::new(),
            rcfile_dir: "/home/manish".into(),
            superuser: false,
            user: "manish".into(),
        };
        let (configuration, diagnostics) = rcfile.resolve(&request);
        assert!(
            !diagnostics.iter().any(Diagnostic::is_error),
            "{diagnostics:?}"
        );
        let wishes = RcWishes {
            native_tunnels: true,
            superuser: false,
            netrc: Some("/home/manish/.netrc".into()),
        };
        let vars = [("HOME", "/home/manish"), ("USER", "manish")];
        let vars = vars.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::new("/work".into(), vars);
        let old = resolve_rcfile(&configuration, &wishes, &environment, &NoOpenSsh);
        let translation = toml("/home/manish/.fetchmailrc", &configuration, &old, &[]);
        let text = &translation.text;
        let (config, diagnostics) = config::parse(text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}\n{text}");
        let file = ConfigFile {
            path: std::path::Path::new("/home/manish/config.toml"),
            config: &config,
        };
        let new = resolve(Some(file), &Overrides::default(), &environment, &NoOpenSsh);
        let new = new.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        (old, new, translation)
    }

    #[test]
    fn a_translation_comes_to_the_same() {
        for rc in [
            "poll localhost proto pop3 port 11110 user msingh is joe pass 'a\"b\\\\ü' \
             preconnect 'ssh -C -f me@popserver -L 11110:localhost:110 sleep 5'",
            "poll mail proto pop3 timeout 0 user 'joe@x.org' pass p ssl keep limit 5000",
            "poll mail proto pop3 auth password user a pass p sslproto '' fetchlimit 3 \
             user b pass q mda 'procmail -d %T' limitflush",
            "set daemon 300 poll mail proto pop3 plugin 'ssh -i /k -p 2222 gw nc %h %p' user a \
             smtphost '/run/lmtp'",
            "poll pop.example.org proto pop3 envelope 1 'X-Original-To' qvirtual 'q-' \
             aka other.example localdomains example.org user drop is joe jane=j.doe * here \
             pass p ssl fetchall keep flush expunge 5 stripcr mimedecode dropstatus dropdelivered \
             batchlimit 10 tracepolls",
            "set invisible set postmaster root poll mail.example.org proto pop3 no dns checkalias \
             no envelope user drop is joe jane here pass p ssl no rewrite",
            "set daemon 300 poll mail.example.org proto pop3 interval 3 user a pass p ssl",
        ] {
            let (old, new, Translation { text, lost }) = both(rc);
            assert!(lost.iter().all(|what| what.contains("plugin")), "{lost:?}");
            assert_eq!(old.errands.len(), new.jobs.len(), "{text}");
            for (old, new) in old.errands.iter().flatten().zip(&new.jobs) {
                let old = &old.job;
                assert_eq!(old.mailbox, new.mailbox, "{text}");
                assert_eq!(old.server, new.server, "{text}");
                assert_eq!(old.keep, new.keep, "{text}");
                // What fetchmail has seen is not known before it is imported.
                let kept = old.select.kept;
                let select = Select { kept, ..new.select };
                assert_eq!(old.select, select, "{text}");
                assert_eq!(old.auth, new.auth, "{text}");
                let edits = |job: &Job| Edits {
                    // The server has another name to whoever comes by SSH.
                    received: job.edits.received.clone().map(|trace| Trace {
                        from: String::new(),
                        account: trace.account.map(|_| Default::default()),
                        recipient: None,
                    }),
                    ..job.edits.clone()
                };
                assert_eq!(edits(old), edits(new), "{text}");
                assert_eq!(old.multidrop, new.multidrop, "{text}");
                let batch = |job: &Job| match &job.deliver[0] {
                    DeliverTo::Smtp(to) => to.batch_limit,
                    _ => None,
                };
                assert_eq!(batch(old), batch(new), "{text}");
                assert_eq!(old.tls.start, new.tls.start, "{text}");
                assert_eq!(old.allow_plaintext, new.allow_plaintext, "{text}");
                // Without a shell, words are shown in quotes.
                let to = |job: &Job| job.deliver[0].to_string().replace('\'', "");
                assert_eq!(to(old), to(new), "{text}");
                let secret = |job: &Job| match &job.password {
                    PasswordSource::Given { secret, .. } => secret.expose_secret().to_owned(),
                    other => other.to_string(),
                };
                assert_eq!(secret(old), secret(new), "{text}");
                if let (Route::Ssh(old), Route::Ssh(new)) = (&old.route, &new.route) {
                    assert_eq!(old[0].compression, new[0].compression, "{text}");
                    assert_eq!(old[0].address, new[0].address, "{text}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_counterpart_is_said() {
        let (_, _, Translation { text, lost }) = both(
            "poll mail.example.org proto pop3 interval 3 user a pass p ssl sslcertpath /etc/mycerts \
             antispam 550 554 smtphost a,b preconnect 'beep'",
        );
        for what in [
            "preconnect beep",
            "interval 3",
            "sslcertpath /etc/mycerts",
            "antispam 550,554",
            "smtphost: only the first of the servers is used",
        ] {
            let said = format!("mail.example.org: {what}");
            assert!(lost.contains(&said), "{what:?} is not in {lost:?}");
            let comment = format!("# This has no counterpart here: {what}\n");
            assert!(text.contains(&comment), "{what:?} is not in {text}");
        }
        assert_eq!(lost.len(), 5, "{lost:?}");
        let (_, new, _) =
            both("set daemon 300 poll m.example proto pop3 interval 3 user a pass p ssl");
        assert_eq!(new.jobs[0].every.as_secs(), 900);
    }

    #[test]
    fn what_needs_a_shell_is_told_from_what_does_not() {
        for (command, plain) in [
            ("procmail -d %T", Some("mda:procmail -d %T")),
            ("'/opt/my agent' %F", Some("mda:'/opt/my agent' %F")),
            ("formail -s | cat", None),
            ("cat >> $HOME/mail", None),
            ("", None),
        ] {
            let words = without_shell(command).map(|command| format!("mda:{command}"));
            assert_eq!(words.as_deref(), plain, "{command}");
        }
    }
}
