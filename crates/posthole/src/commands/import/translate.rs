//! An rc file as a configuration of ours, with the reason for each line.

use std::collections::HashSet;
use std::fmt::Write;

use posthole_core::config::{ServerUrl, SshTarget};
use posthole_core::fetchmailrc::Configuration;
use posthole_core::plan::{
    Auth, DeliverTo, Errand, Keep, MdaCommand, PasswordSource, RcPlan, Route, SmtpServer, TlsStart,
};
use secrecy::ExposeSecret;

/// Appends a line; a `String` always takes it.
macro_rules! push {
    ($text:expr, $($arguments:tt)*) => {
        _ = writeln!($text, $($arguments)*)
    };
}

/// Translates what an rc file comes to; `path` is where it is.
pub(super) fn toml(
    path: &str,
    configuration: &Configuration,
    plan: &RcPlan,
    skipped: &[String],
) -> String {
    let mut text = String::new();
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
                account(&mut text, &name, errand);
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
    text
}

fn account(text: &mut String, name: &str, errand: &Errand) {
    let job = &errand.job;
    push!(text, "[account.{}]", key(name));
    let is_tls = job.tls.start == TlsStart::AtOnce;
    let usual = if is_tls { 995 } else { 110 };
    let server = ServerUrl {
        is_tls,
        user: Some(job.user.clone()),
        host: job.server.host.clone(),
        port: (job.server.port != usual).then_some(job.server.port),
    };
    let server_is = match (&errand.via, is_tls) {
        (Some(_), _) => "poll and port; the server as the SSH host sees it",
        (None, true) => "poll, user and ssl",
        (None, false) => "poll and user",
    };
    push!(
        text,
        "server = {}  # {server_is}",
        quoted(&server.to_string())
    );
    if let (Some(via), Route::Ssh(_)) = (&errand.via, &job.route) {
        push!(
            text,
            "via = {}  # instead of the ssh command: no process, no port, no sleep",
            quoted(&via.to_string())
        );
    }
    for (what, command) in [
        ("preconnect", &errand.preconnect),
        ("postconnect", &errand.postconnect),
    ] {
        if let Some(command) = command {
            let command = one_line(&command.to_string());
            push!(text, "# {what} has no counterpart here: {command}");
        }
    }
    if let Route::Plugin(words) = &job.route {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        let words = one_line(&words.join(" "));
        push!(text, "# plugin has no counterpart here: {words}");
    }
    if job.auth != Auth::Auto {
        push!(text, "auth = {}  # auth", quoted(&job.auth.to_string()));
    }
    password(text, &job.password);
    match job.keep {
        Keep::Never => push!(
            text,
            "keep = false  # fetchmail deletes what it fetched unless told to keep it"
        ),
        _ => push!(text, "keep = true  # keep"),
    }
    if let Some(limit) = job.select.limit {
        push!(text, "limit = {limit}  # limit, in octets");
    }
    if job.select.limit_flush {
        push!(text, "limit-flush = true  # limitflush");
    }
    if let Some(limit) = job.select.fetch_limit {
        push!(text, "fetch-limit = {limit}  # fetchlimit");
    }
    let timeout = job.timeout.as_secs();
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
    tls(text, errand);
    for to in &job.deliver {
        deliver(text, to);
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

fn tls(text: &mut String, errand: &Errand) {
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
    if let posthole_core::plan::Authorities::Files(files) = &job.tls.authorities {
        for file in files {
            let file = quoted(&file.display().to_string());
            push!(text, "tls-ca-file = {file}  # sslcertfile");
        }
    }
    if let Some(identity) = &job.tls.identity {
        let certificate = quoted(&identity.certificate.display().to_string());
        let key = quoted(&identity.key.display().to_string());
        push!(text, "tls-certificate = {certificate}  # sslcert");
        push!(text, "tls-key = {key}  # sslkey");
    }
}

fn deliver(text: &mut String, to: &DeliverTo) {
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
            if to.servers.len() > 1 {
                push!(text, "# Only the first of the servers in smtphost is used.");
            }
            let server = match &to.servers[0] {
                SmtpServer::Tcp(to) => to.to_string(),
                SmtpServer::Unix(path) => path.display().to_string(),
            };
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
    if let Some(recipients) = recipients {
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

#[cfg(test)]
mod tests {
    use posthole_core::config::{self, Diagnostic};
    use posthole_core::fetchmailrc::{self, Flags, Request};
    use posthole_core::openssh::NoOpenSsh;
    use posthole_core::plan::{
        ConfigFile, Environment, Overrides, Plan, RcWishes, resolve, resolve_rcfile,
    };

    use super::*;

    /// What the rc file comes to, and what its translation comes to.
    fn both(rc: &str) -> (RcPlan, Plan, String) {
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
        let text = toml("/home/manish/.fetchmailrc", &configuration, &old, &[]);
        let (config, diagnostics) = config::parse(&text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}\n{text}");
        let file = ConfigFile {
            path: std::path::Path::new("/home/manish/config.toml"),
            config: &config,
        };
        let new = resolve(Some(file), &Overrides::default(), &environment, &NoOpenSsh);
        (old, new.unwrap(), text)
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
        ] {
            let (old, new, text) = both(rc);
            assert_eq!(old.errands.len(), new.jobs.len(), "{text}");
            for (old, new) in old.errands.iter().flatten().zip(&new.jobs) {
                let old = &old.job;
                assert_eq!(old.mailbox, new.mailbox, "{text}");
                assert_eq!(old.server, new.server, "{text}");
                assert_eq!(old.keep, new.keep, "{text}");
                assert_eq!(old.select, new.select, "{text}");
                assert_eq!(old.auth, new.auth, "{text}");
                assert_eq!(old.tls.start, new.tls.start, "{text}");
                assert_eq!(old.allow_plaintext, new.allow_plaintext, "{text}");
                // Without a shell, words are shown in quotes.
                let to =
                    |job: &posthole_core::plan::Job| job.deliver[0].to_string().replace('\'', "");
                assert_eq!(to(old), to(new), "{text}");
                let secret = |job: &posthole_core::plan::Job| match &job.password {
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
