//! Every default, every override, every refusal.

mod edits;
mod logins;
mod mailboxes;
mod openssh;
mod passwords;
mod surroundings;
mod tls;

use std::ffi::OsString;
use std::path::Path;

use expect_test::{Expect, expect};
use secrecy::ExposeSecret;

use super::*;
use crate::config::{self, Agent, Deliver, Diagnostic, Password, TlsWhen};
use crate::openssh::{NoOpenSsh, OpenSsh};

/// A configuration file, flags and an environment, to be resolved.
#[derive(Clone)]
struct Case {
    text: String,
    overrides: Overrides,
    environment: Environment,
    openssh: Arc<dyn OpenSsh>,
}

fn case(text: &str) -> Case {
    let vars = [
        ("HOME", "/home/me"),
        ("LOGNAME", "me"),
        ("SSH_AUTH_SOCK", "/run/agent"),
        ("MAILPW", "hunter2"),
        ("EMPTY", ""),
        ("LINES", "a\nb"),
    ];
    let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Case {
        text: text.to_owned(),
        overrides: Overrides::default(),
        environment: Environment::new("/cwd".into(), vars),
        openssh: Arc::new(NoOpenSsh),
    }
}

/// An account of the command line that needs nothing else.
fn url(url: &str) -> Case {
    let mut case = case("");
    case.overrides.accounts = vec![url.parse().unwrap()];
    case.overrides.deliver = Some(vec![Deliver::Maildir("~/Mail".into())]);
    case
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Overrides)) -> Self {
        change(&mut self.overrides);
        self
    }

    fn select(self, names: &[&str]) -> Self {
        self.with(|flags| flags.accounts = names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn via(self, targets: &[&str]) -> Self {
        self.with(|flags| {
            flags.via = Some(targets.iter().map(|via| via.parse().unwrap()).collect());
        })
    }

    fn without(mut self, variable: &str) -> Self {
        self.environment.vars.remove(std::ffi::OsStr::new(variable));
        self.environment = Environment::new(self.environment.cwd, self.environment.vars);
        self
    }

    #[track_caller]
    fn resolve(&self) -> Result<Plan, Vec<Diagnostic>> {
        let (config, diagnostics) = config::parse(&self.text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let file = ConfigFile {
            path: Path::new("/etc/posthole/config.toml"),
            config: &config,
        };
        let file = Some(file).filter(|_| !self.text.is_empty());
        resolve(file, &self.overrides, &self.environment, &*self.openssh)
    }

    #[track_caller]
    fn plan(&self) -> Plan {
        self.resolve()
            .unwrap_or_else(|found| panic!("{}", render(&self.text, &found)))
    }

    #[track_caller]
    fn job(&self) -> Arc<Job> {
        let plan = self.plan();
        let [job] = &plan.jobs[..] else {
            panic!("{plan}")
        };
        Arc::clone(job)
    }

    #[track_caller]
    fn hop(&self) -> Hop {
        let job = self.job();
        let Route::Ssh(hops) = &job.route else {
            panic!("{job}")
        };
        hops[0].clone()
    }

    /// What stops it, as text.
    #[track_caller]
    fn errors(&self) -> String {
        match self.resolve() {
            Ok(plan) => panic!("resolved to {plan}"),
            Err(found) => render(&self.text, &found),
        }
    }

    #[track_caller]
    fn refused(&self, expect: Expect) {
        match self.resolve() {
            Ok(plan) => panic!("resolved to {plan}"),
            Err(found) => expect.assert_eq(&render(&self.text, &found)),
        }
    }
}

fn render(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for Diagnostic {
        severity: _,
        message,
        span,
        label: _,
        help,
    } in diagnostics
    {
        let place = span
            .as_ref()
            .map_or_else(String::new, |span| format!(" ^{}^", &text[span.clone()]));
        out.push_str(&format!("{message}{place}\n"));
        if let Some(help) = help {
            out.push_str(&format!("  help: {help}\n"));
        }
    }
    out
}

const ACCOUNT: &str = "[account.work]
server = 'pop3://msingh@localhost'
deliver = 'maildir:Mail'
";

const TUNNELLED: &str = "[account.work]
server = 'pop3://msingh@localhost'
via = 'popserver'
deliver = 'maildir:Mail'
";

#[test]
fn the_one_liner_needs_no_file() {
    let case = url("pop3://msingh@localhost:110").via(&["msingh@popserver"]);
    expect![[r#"
        account msingh@localhost:110
          mailbox: pop3:msingh@localhost via popserver
          server: localhost:110
          user: msingh
          via popserver
            address: popserver:22
            user: msingh
            identities, where they exist: /home/me/.ssh/id_ed25519, /home/me/.ssh/id_ecdsa, /home/me/.ssh/id_rsa
            agent: /run/agent
            known hosts: /home/me/.ssh/known_hosts, /home/me/.ssh/known_hosts2, /etc/ssh/ssh_known_hosts, /etc/ssh/ssh_known_hosts2
            password: asked for when it is needed
            compression: no
            connect timeout: 30s
            keepalive: 30s
          tls: never
          auth: auto
          password: asked for when it is needed
          keep: always
          every: 5m
          timeout: 1m
          deliver: maildir:/home/me/Mail

        records: /home/me/.local/state/posthole
    "#]].assert_eq(&case.plan().to_string());
}

#[test]
fn a_file_is_described_without_its_secrets() {
    let case = case(
        "[defaults]
deliver = 'maildir:~/Mail'
timeout = '90s'

[account.work]
server = 'pop3://msingh@localhost:1110'
via = ['a@jump:2222', 'popserver']
password = { command = 'pass show mail/work' }
keep = '14d'

[account.local]
server = 'pop3://[::1]'
password = { literal = 'hunter2' }
keep = false

[account.open]
server = 'pop3://x@example.org'
allow-plaintext = true
password = { env = 'MAILPW' }

[ssh.popserver]
hostname = '192.0.2.1'
identity = '~/.ssh/id_pop'
compression = true
keepalive = '0s'
agent = false
password = { file = 'pw' }
",
    );
    expect![[r#"
        account work
          mailbox: pop3:msingh@localhost:1110 via popserver
          server: localhost:1110
          user: msingh
          via jump
            address: jump:2222
            user: a
            identities, where they exist: /home/me/.ssh/id_ed25519, /home/me/.ssh/id_ecdsa, /home/me/.ssh/id_rsa
            agent: /run/agent
            known hosts: /home/me/.ssh/known_hosts, /home/me/.ssh/known_hosts2, /etc/ssh/ssh_known_hosts, /etc/ssh/ssh_known_hosts2
            password: asked for when it is needed
            compression: no
            connect timeout: 30s
            keepalive: 30s
          via popserver
            address: 192.0.2.1:22
            user: me
            identities: /home/me/.ssh/id_pop
            agent: none
            known hosts: /home/me/.ssh/known_hosts, /home/me/.ssh/known_hosts2, /etc/ssh/ssh_known_hosts, /etc/ssh/ssh_known_hosts2
            password: the file /etc/posthole/pw
            compression: yes
            connect timeout: 30s
            keepalive: never
          tls: never
          auth: auto
          password: the output of `pass show mail/work`
          keep: 14days after fetching
          every: 5m
          timeout: 1m 30s
          deliver: maildir:/home/me/Mail

        account local
          mailbox: pop3:me@localhost
          server: [::1]:110
          user: me
          way: directly
          tls: never
          auth: auto
          password: the configuration file
          keep: no longer than it takes to be safe here
          every: 5m
          timeout: 1m 30s
          deliver: maildir:/home/me/Mail

        account open
          mailbox: pop3:x@example.org
          server: example.org:110
          user: x
          way: directly, even if the password is in the clear
          tls: after STLS, if the server offers it
            certificate: for example.org, signed by an authority that this machine trusts
          auth: auto
          password: the environment variable MAILPW
          keep: always
          every: 5m
          timeout: 1m 30s
          deliver: maildir:/home/me/Mail

        records: /home/me/.local/state/posthole
    "#]].assert_eq(&case.plan().to_string());
}

#[test]
fn secrets_are_in_no_text_about_a_plan() {
    let case = case(
        "[account.a]
server = 'pop3://a@localhost'
via = 'h'
password = { literal = 'hunter2' }
deliver = 'maildir:a'
[account.b]
server = 'pop3://b@localhost'
password = { env = 'MAILPW' }
deliver = 'maildir:b'
[ssh.h]
password = { literal = 'hunter2' }
",
    );
    let plan = case.plan();
    for job in &plan.jobs {
        let PasswordSource::Given { secret, .. } = &job.password else {
            panic!("{job}")
        };
        assert_eq!(secret.expose_secret(), "hunter2");
    }
    let (config, _) = config::parse(&case.text);
    let flags = Overrides {
        password: Some(Password::Literal("hunter2".into())),
        ..Overrides::default()
    };
    let all = format!(
        "{plan}{plan:?}{plan:#?}{config:?}{flags:?}{:?}",
        case.environment
    );
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn what_is_not_said_has_a_default() {
    let job = case(ACCOUNT).job();
    let Job {
        account,
        mailbox,
        user,
        server,
        route,
        auth,
        password,
        keep,
        select,
        every,
        filter,
        edits,
        multidrop,
        timeout,
        max_size,
        deliver,
        allow_plaintext,
        tls,
    } = &*job;
    assert_eq!(*every, Duration::from_secs(5 * 60));
    assert_eq!(account, "work");
    assert_eq!(mailbox, "pop3:msingh@localhost");
    assert_eq!(user, "msingh");
    assert_eq!(server.to_string(), "localhost:110");
    assert!(matches!(route, Route::Direct));
    assert_eq!(*auth, Auth::Auto);
    assert!(matches!(password, PasswordSource::Prompt));
    assert_eq!(*keep, Keep::Always);
    assert_eq!(*select, Select::default());
    assert!(filter.is_none() && edits.is_none() && multidrop.is_none());
    assert_eq!(*timeout, Duration::from_secs(60));
    assert_eq!(*max_size, 2 << 30);
    assert_eq!(*deliver, [DeliverTo::Maildir("/etc/posthole/Mail".into())]);
    assert!(!allow_plaintext);
    assert_eq!(tls.start, TlsStart::Never);
}

#[test]
fn what_is_not_said_about_ssh_has_a_default() {
    let Hop {
        name,
        address,
        user,
        identities,
        identities_named,
        agent,
        known_hosts,
        password,
        compression,
        connect_timeout,
        keepalive,
        ..
    } = case(TUNNELLED).hop();
    assert_eq!(name, "popserver");
    assert_eq!(address.to_string(), "popserver:22");
    assert_eq!(user, "me");
    let ssh = Path::new("/home/me/.ssh");
    assert_eq!(
        identities,
        ["id_ed25519", "id_ecdsa", "id_rsa"].map(|file| ssh.join(file))
    );
    assert!(!identities_named);
    assert_eq!(agent.as_deref(), Some(Path::new("/run/agent")));
    let system = Path::new("/etc/ssh");
    assert_eq!(
        known_hosts,
        [
            ssh.join("known_hosts"),
            ssh.join("known_hosts2"),
            system.join("ssh_known_hosts"),
            system.join("ssh_known_hosts2")
        ]
    );
    assert!(matches!(password, PasswordSource::Prompt));
    assert!(!compression);
    assert_eq!(connect_timeout, Duration::from_secs(30));
    assert_eq!(keepalive, Duration::from_secs(30));
}

#[test]
fn an_account_wins_over_the_defaults_and_a_flag_over_both() {
    let defaults = "[defaults]
via = 'd'
deliver = 'maildir:d'
password = { command = 'd' }
keep = '1d'
limit = '1K'
limit-flush = true
fetch-limit = 1
timeout = '1m'
";
    let account = "[account.work]\nserver = 'pop3://u@localhost'\n";
    let own = "via = 'a'
deliver = 'maildir:a'
password = { command = 'a' }
keep = '2d'
limit = '2K'
limit-flush = false
fetch-limit = 2
timeout = '2m'
allow-plaintext = false
";
    let flags = |flags: &mut Overrides| {
        flags.via = Some(vec!["f".parse().unwrap()]);
        flags.deliver = Some(vec![Deliver::Maildir("f".into())]);
        flags.password = Some(Password::Command("f".to_owned()));
        flags.keep = Some(Keep::Never);
        flags.limit = Some(3000);
        flags.limit_flush = Some(true);
        flags.fetch_limit = Some(3);
        flags.timeout = Some(Duration::from_secs(180));
        flags.allow_plaintext = Some(true);
    };
    let says = |case: Case| {
        let job = case.job();
        let Route::Ssh(hops) = &job.route else {
            panic!("{job}")
        };
        format!(
            "{} {} {} {} {:?} {} {:?} {}s {}",
            hops[0].name,
            job.deliver[0],
            job.password,
            job.keep,
            job.select.limit,
            job.select.limit_flush,
            job.select.fetch_limit,
            job.timeout.as_secs(),
            job.allow_plaintext
        )
    };
    let defaults_only = says(case(&format!("{defaults}{account}")));
    assert_eq!(
        defaults_only,
        "d maildir:/etc/posthole/d the output of `d` 1day after fetching \
         Some(1000) true Some(1) 60s false"
    );
    let own = format!("{defaults}{account}{own}");
    assert_eq!(
        says(case(&own)),
        "a maildir:/etc/posthole/a the output of `a` 2days after fetching \
         Some(2000) false Some(2) 120s false"
    );
    assert_eq!(
        says(case(&own).with(flags)),
        "f maildir:/cwd/f the output of `f` no longer than it takes to be safe here \
         Some(3000) true Some(3) 180s true"
    );
}

#[test]
fn an_ssh_section_applies_to_the_host_that_via_spells_and_a_flag_wins_over_it() {
    let text = format!(
        "{TUNNELLED}[ssh.PopServer]
hostname = '192.0.2.1'
port = 2200
user = 'b'
identity = ['~/.ssh/a', 'b', '/c']
known-hosts = 'known'
compression = true
keepalive = '0s'
connect-timeout = '5s'
password = {{ command = 'pw' }}
agent = 'agent.sock'
"
    );
    let hop = case(&text).hop();
    assert_eq!(hop.name, "popserver");
    assert_eq!(hop.address.to_string(), "192.0.2.1:2200");
    assert_eq!(hop.login(), "b@popserver");
    assert_eq!(
        hop.identities,
        ["/home/me/.ssh/a", "/etc/posthole/b", "/c"].map(PathBuf::from)
    );
    assert!(hop.identities_named);
    assert_eq!(hop.known_hosts[0], Path::new("/etc/posthole/known"));
    assert_eq!(hop.known_hosts[1], Path::new("/etc/ssh/ssh_known_hosts"));
    assert!(hop.compression);
    assert_eq!(hop.keepalive, Duration::ZERO);
    assert_eq!(hop.connect_timeout, Duration::from_secs(5));
    assert!(matches!(&hop.password, PasswordSource::Command(command) if command == "pw"));
    assert_eq!(
        hop.agent.as_deref(),
        Some(Path::new("/etc/posthole/agent.sock"))
    );

    let written = case(&text).via(&["c@popserver:2022"]).hop();
    assert_eq!(written.login(), "c@popserver");
    assert_eq!(written.address.to_string(), "192.0.2.1:2022");

    let other = case(&text).via(&["192.0.2.1"]).hop();
    assert_eq!(
        other.address.to_string(),
        "192.0.2.1:22",
        "NAME is not the real host"
    );

    let flags = case(&text).with(|flags| {
        flags.ssh = SshOverrides {
            identity: Some(vec!["id".into()]),
            known_hosts: Some(vec!["~/hosts".into()]),
            compression: Some(false),
            keepalive: Some(Duration::from_secs(7)),
            connect_timeout: Some(Duration::from_secs(8)),
            agent: Some(Agent::Off),
        };
    });
    let hop = flags.hop();
    assert_eq!(hop.identities, [Path::new("/cwd/id")]);
    assert!(hop.identities_named);
    assert_eq!(hop.known_hosts[0], Path::new("/home/me/hosts"));
    assert!(!hop.compression);
    assert_eq!(hop.keepalive, Duration::from_secs(7));
    assert_eq!(hop.connect_timeout, Duration::from_secs(8));
    assert_eq!(hop.agent, None);
}

#[test]
fn one_host_alone_is_reached_as_it_would_be_for_an_account() {
    let case = case("[ssh.h]\nhostname = '192.0.2.1'\nuser = 'b'\nagent = '~/a'");
    let (config, _) = config::parse(&case.text);
    let path = Path::new("/etc/posthole/config.toml");
    let file = Some(ConfigFile {
        path,
        config: &config,
    });
    let target: config::SshTarget = "h:2222".parse().unwrap();
    let resolve = |case: &Case| {
        let (flags, environment) = (&case.overrides, &case.environment);
        resolve_way(
            file,
            std::slice::from_ref(&target),
            flags,
            environment,
            &NoOpenSsh,
        )
    };
    let hop = &resolve(&case).unwrap().hops[0];
    assert_eq!(
        (hop.login(), hop.address.to_string()),
        ("b@h".into(), "192.0.2.1:2222".into())
    );
    assert_eq!(hop.agent.as_deref(), Some(Path::new("/home/me/a")));

    let case = case.without("HOME");
    let found = resolve(&case).unwrap_err();
    assert_eq!(
        found.len(),
        2,
        "neither the agent nor known_hosts: {found:?}"
    );
}

#[test]
fn an_empty_via_goes_directly_whatever_the_defaults_say() {
    let text = "[defaults]\nvia = 'd'\ndeliver = 'maildir:m'\n[account.a]\nserver = 'pop3://u@localhost'\nvia = []";
    assert!(matches!(case(text).job().route, Route::Direct));
    assert!(matches!(
        case(TUNNELLED).via(&[]).job().route,
        Route::Direct
    ));
}

#[test]
fn a_chain_of_hosts_keeps_its_order() {
    let job = case(ACCOUNT).via(&["a", "b@b:2", "[::1]:3"]).job();
    let Route::Ssh(hops) = &job.route else {
        panic!("{job}")
    };
    let hops: Vec<_> = hops
        .iter()
        .map(|hop| format!("{}@{}", hop.user, hop.address))
        .collect();
    assert_eq!(hops, ["me@a:22", "b@b:2", "me@[::1]:3"]);
}

#[test]
fn a_destination_must_be_named() {
    url("pop3://u@localhost")
        .with(|flags| flags.deliver = None)
        .refused(expect![[r#"
            it is not said where the mail of `u@localhost` goes
              help: add `--to maildir:~/Mail`
        "#]]);
    case("[account.a]\nserver = 'pop3://u@localhost'").refused(expect![[r#"
        it is not said where the mail of `a` goes ^a^
          help: write deliver = "maildir:~/Mail" here or below [defaults], or give --to
    "#]]);
}

#[test]
fn flags_out_of_range_are_refused() {
    case(ACCOUNT)
        .with(|flags| {
            flags.timeout = Some(Duration::ZERO);
            flags.ssh.connect_timeout = Some(Duration::MAX);
            flags.ssh.keepalive = Some(Duration::from_millis(1));
        })
        .refused(expect![[r#"
            `--timeout`: the duration is shorter than 1s
            `--connect-timeout`: the duration is longer than 1day
            `--keepalive`: the duration is shorter than 1s
        "#]]);
    case(ACCOUNT)
        .with(|flags| flags.ssh.keepalive = Some(Duration::ZERO))
        .job();
}
