//! Every default, every override, every refusal.

mod edits;
mod openssh;
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
fn a_mailbox_keeps_its_key_while_the_way_to_it_changes() {
    let key = |case: Case| case.job().mailbox.clone();
    let via = |server: &str, via: &[&str]| key(url(server).via(via));
    let plain = "pop3:u@localhost via h";
    assert_eq!(via("pop3://u@localhost", &["h"]), plain);
    for (server, hosts) in [
        ("pop3://u@localhost:110", &["h"][..]),
        ("pop3://u@LocalHost", &["H"]),
        ("pop3://u@localhost.", &["h."]),
        ("pop3://u@127.0.0.1", &["h"]),
        ("pop3://u@[::1]", &["h"]),
        ("pop3://u@localhost", &["someone@h"]),
        ("pop3://u@localhost", &["h:22"]),
        ("pop3://u@localhost", &["ssh://h"]),
        ("pop3://u@localhost", &["jump", "h"]),
    ] {
        assert_eq!(via(server, hosts), plain, "{server} {hosts:?}");
    }
    // A name, another port or user in [ssh.NAME], and another folder change nothing either.
    let named = "[account.name]\nserver = 'pop3://u@localhost'\nvia = 'h'\ndeliver = 'maildir:x'\n\
                 [ssh.h]\nport = 2200\nuser = 'x'\nhostname = 'elsewhere'";
    assert_eq!(key(case(named)), plain);
}

#[test]
fn two_mailboxes_never_share_a_key() {
    let keys = [
        url("pop3://u@localhost"),
        url("pop3://U@localhost"),
        url("pop3://v@localhost"),
        url("pop3://u@localhost:1110"),
        url("pop3://u@127.0.0.2"),
        url("pop3://u@localhost").via(&["h"]),
        url("pop3://u@localhost").via(&["h:2222"]),
        url("pop3://u@localhost").via(&["i"]),
        url("pop3://u@localhost:1110").via(&["h"]),
        url("pop3://u@mail").via(&["h"]),
        url("pop3://u@localhost").via(&["::1"]),
        url("pop3://u@localhost").via(&["[::2]:2222"]),
    ]
    .map(|case| case.job().mailbox.clone());
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{key}");
    }
    assert_eq!(keys[11], "pop3:u@localhost via [::2]:2222");
}

#[test]
fn two_accounts_of_one_mailbox_are_refused() {
    let text = format!(
        "{ACCOUNT}[account.again]\nserver = 'pop3://msingh@127.0.0.1'\ndeliver = 'maildir:b'"
    );
    case(&text).refused(expect![[r#"
        `work` and `again` are the same mailbox (pop3:msingh@localhost) ^again^
          help: take one of them out; mail is fetched once from each mailbox
    "#]]);
    assert_eq!(case(&text).select(&["again"]).job().account, "again");
    url("pop3://u@localhost")
        .with(|flags| {
            flags
                .accounts
                .push("pop3://u@localhost:110".parse().unwrap());
        })
        .refused(expect![[r#"
            `u@localhost` and `u@localhost:110` are the same mailbox (pop3:u@localhost)
              help: take one of them out; mail is fetched once from each mailbox
        "#]]);
}

#[test]
fn accounts_are_chosen_by_name() {
    let text = "[defaults]\ndeliver = 'maildir:m'\n[account.work]\nserver = 'pop3://a@localhost'\n\
                [account.home]\nserver = 'pop3://b@localhost'";
    let names = |case: Case| -> Vec<String> {
        case.plan()
            .jobs
            .iter()
            .map(|job| job.account.clone())
            .collect()
    };
    assert_eq!(names(case(text)), ["work", "home"]);
    assert_eq!(names(case(text).select(&["home"])), ["home"]);
    assert_eq!(
        names(case(text).select(&["home", "work", "home"])),
        ["home", "work"]
    );
    assert_eq!(
        names(case(text).select(&["pop3://c@localhost", "home"])),
        ["c@localhost", "home"]
    );
    case(text).select(&["wrok", "office"]).refused(expect![[r#"
            there is no account `wrok`
              help: did you mean `work`?
            there is no account `office`
              help: known are work, home
        "#]]);
    case("").select(&["work"]).refused(expect![[r#"
        there is no account `work`
          help: no account is configured; a URL has a `://`, such as pop3://user@host
    "#]]);
}

#[test]
fn an_unselected_account_does_not_have_to_be_complete() {
    let text = format!("{ACCOUNT}[account.later]\nserver = 'pop3://u@example.org'\ntls = 'never'");
    assert_eq!(case(&text).select(&["work"]).job().account, "work");
    case(&text).refused(expect![[r#"
        the password of `later` would cross the network to example.org in the clear ^'pop3://u@example.org'^
          help: allow TLS with tls = "required", go through SSH with `via`, or accept the risk with allow-plaintext = true
        it is not said where the mail of `later` goes ^later^
          help: write deliver = "maildir:~/Mail" here or below [defaults], or give --to
    "#]]);
}

#[test]
fn nothing_to_do_is_an_error() {
    case("").refused(expect![[r#"
        there is no account to work on
          help: give an account as a URL, such as `pop3://msingh@localhost --via msingh@popserver --to maildir:~/Mail`, or write an [account.NAME] into /home/me/.config/posthole/config.toml
    "#]]);
    case("[defaults]\nkeep = true").refused(expect![[r#"
        there is no account to work on
          help: give an account as a URL, such as `pop3://msingh@localhost --via msingh@popserver --to maildir:~/Mail`, or write an [account.NAME] into /etc/posthole/config.toml
    "#]]);
}

#[test]
fn a_password_does_not_cross_a_network_in_the_clear() {
    for server in [
        "localhost",
        "LOCALHOST.",
        "pop.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(
            matches!(
                url(&format!("pop3://u@{server}")).job().route,
                Route::Direct
            ),
            "{server}"
        );
    }
    for server in [
        "example.org",
        "localhost.example.org",
        "notlocalhost",
        "192.0.2.1",
        "0.0.0.0",
        "[::]",
        "[fe80::1]",
    ] {
        let case = url(&format!("pop3://u@{server}"));
        assert_eq!(case.job().tls.start, TlsStart::Required, "{server}");
        let case = case.with(|flags| flags.tls.when = Some(TlsWhen::Never));
        assert_eq!(case.resolve().unwrap_err().len(), 1, "{server}");
        case.clone().via(&["h"]).job();
        case.with(|flags| flags.allow_plaintext = Some(true)).job();
    }
    url("pop3://u@example.org")
        .with(|flags| flags.tls.when = Some(TlsWhen::Never))
        .refused(expect![[r#"
            the password of `u@example.org` would cross the network to example.org in the clear
              help: allow TLS with --tls required, go through SSH with `via`, or accept the risk with --allow-plaintext
        "#]]);
    let text = ACCOUNT.replace("localhost", "example.org") + "tls = 'never'\n";
    case(&text).refused(expect![[r#"
        the password of `work` would cross the network to example.org in the clear ^'pop3://msingh@example.org'^
          help: allow TLS with tls = "required", go through SSH with `via`, or accept the risk with allow-plaintext = true
    "#]]);
    case(&format!("{text}allow-plaintext = true")).job();
}

#[test]
fn a_login_that_gives_nothing_away_may_be_overheard_where_tls_is_given_up_on_purpose() {
    for (auth, gives_away) in [
        ("auto", true),
        ("user", true),
        ("plain", true),
        ("xoauth2", true),
        ("apop", false),
        ("cram-md5", false),
        ("scram-sha-256", false),
        ("external", false),
    ] {
        let case = url("pop3://u@example.org").with(|flags| flags.auth = auth.parse().ok());
        // The mail itself is worth TLS, whatever the login.
        assert_eq!(case.job().tls.start, TlsStart::Required, "{auth}");
        let case = case.with(|flags| flags.tls.when = Some(TlsWhen::Never));
        assert_eq!(case.resolve().is_err(), gives_away, "{auth}");
    }
}

#[test]
fn the_login_is_said_by_the_flag_or_the_account_or_the_defaults() {
    let text = |auth: &str| format!("[defaults]\nauth = 'plain'\n{ACCOUNT}{auth}\n");
    assert_eq!(case(&text("")).job().auth.to_string(), "plain");
    assert_eq!(case(&text("auth = 'apop'")).job().auth.to_string(), "apop");
    let flag = case(&text("auth = 'apop'")).with(|flags| flags.auth = Some(Auth::UserPass));
    assert_eq!(flag.job().auth.to_string(), "user");
}

#[test]
#[cfg(not(feature = "gssapi"))]
fn kerberos_that_was_not_built_in_is_missed_before_anything_is_tried() {
    case(&format!("{ACCOUNT}auth = 'gssapi'\n")).refused(expect![[r#"
        `work` logs in by Kerberos, which this posthole was built without ^work^
          help: build it with the feature `gssapi`, or use a package that has it
    "#]]);
}

#[test]
fn a_way_on_from_the_last_ssh_host_that_is_not_encrypted_is_said() {
    let says = |server: &str| {
        let plan = url(server).via(&["jump", "gate"]).plan().to_string();
        plan.lines()
            .find(|line| line.starts_with("  server:"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(says("pop3://u@localhost"), "  server: localhost:110");
    assert_eq!(
        says("pop3://u@mail"),
        "  server: mail:110, unencrypted between gate and there"
    );
    assert_eq!(says("pop3s://u@mail"), "  server: mail:995");
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
fn passwords_of_the_environment_are_taken_at_once() {
    let with = |name: &str| case(&format!("{ACCOUNT}password = {{ env = '{name}' }}"));
    let job = with("MAILPW").job();
    let PasswordSource::Given { origin, secret } = &job.password else {
        panic!("{job}")
    };
    assert_eq!(origin, "the environment variable MAILPW");
    assert_eq!(secret.expose_secret(), "hunter2");
    with("UNSET").refused(expect![[r#"
        the environment variable UNSET is not set ^{ env = 'UNSET' }^
          help: set it for posthole, or take the password from elsewhere
    "#]]);
    with("EMPTY").refused(expect![[r#"
        the environment variable EMPTY is of no use: the password is empty ^{ env = 'EMPTY' }^
          help: set it for posthole, or take the password from elsewhere
    "#]]);
    with("LINES").refused(expect![[r#"
        the environment variable LINES is of no use: a password cannot hold a line break or NUL ^{ env = 'LINES' }^
          help: set it for posthole, or take the password from elsewhere
    "#]]);
    case(ACCOUNT)
        .with(|flags| flags.password = Some(Password::Env("UNSET".to_owned())))
        .refused(expect![[r#"
            the environment variable UNSET is not set
              help: set it for posthole, or take the password from elsewhere
        "#]]);
}

#[test]
fn the_keyring_is_asked_for_the_service_the_host_and_the_user() {
    let described = |case: &Case| {
        let job = case.job();
        let PasswordSource::Keyring(Keyring { bus, attributes }) = &job.password else {
            panic!("{job}")
        };
        assert_eq!(
            bus.as_deref(),
            Some("unix:path=/run/user/%e2%82%ac%201/bus")
        );
        let one = |(name, value): &(String, String)| format!("{name}={value}");
        let all = |one_item: &Vec<_>| one_item.iter().map(one).collect::<Vec<_>>().join(" ");
        attributes.iter().map(all).collect::<Vec<_>>()
    };
    let keyring = |text: &str, value: &str| {
        let mut case = case(&format!("{text}password = {{ keyring = {value} }}"));
        let run = (
            OsString::from("XDG_RUNTIME_DIR"),
            OsString::from("/run/user/€ 1"),
        );
        case.environment.vars.extend([run]);
        case
    };
    assert_eq!(
        described(&keyring(ACCOUNT, "true")),
        ["host=localhost service=pop3 user=msingh"]
    );
    // Behind an SSH host that is what the SSH host calls it, so its own name will do.
    assert_eq!(
        described(&keyring(TUNNELLED, "true")),
        [
            "host=localhost service=pop3 user=msingh",
            "host=popserver service=pop3 user=msingh"
        ]
    );
    let own = keyring(TUNNELLED, "{ account = 'work', purpose = 'mail' }");
    assert_eq!(described(&own), ["account=work purpose=mail"]);
    let flagged = keyring(ACCOUNT, "true");
    let by_flag = flagged.with(|flags| flags.password = Some(Password::Keyring(Vec::new())));
    assert_eq!(
        described(&by_flag),
        ["host=localhost service=pop3 user=msingh"]
    );

    let ssh = keyring(
        &format!("{TUNNELLED}[ssh.popserver]\nhostname = '192.0.2.1'\n"),
        "true",
    );
    let PasswordSource::Keyring(found) = ssh.hop().password else {
        panic!("another source")
    };
    assert_eq!(
        found.look_up_command(),
        "secret-tool lookup host popserver service ssh user me"
    );
    assert_eq!(found.attributes[1][0].1, "192.0.2.1");
}

#[test]
fn the_address_of_the_bus_is_that_of_the_environment() {
    let mut case = case("");
    assert_eq!(case.environment.session_bus(), None);
    for (name, value, address) in [
        ("XDG_RUNTIME_DIR", "run", None),
        (
            "XDG_RUNTIME_DIR",
            "/run/user/1000",
            Some("unix:path=/run/user/1000/bus"),
        ),
        (
            "DBUS_SESSION_BUS_ADDRESS",
            "unix:abstract=x",
            Some("unix:abstract=x"),
        ),
    ] {
        case.environment.vars.insert(name.into(), value.into());
        assert_eq!(case.environment.session_bus().as_deref(), address);
    }
}

#[test]
fn netrc_is_asked_for_the_machine_and_the_login() {
    let netrc = |text: &str, value: &str| {
        let job = case(&format!("{text}password = {{ netrc = {value} }}")).job();
        let PasswordSource::Netrc(entry) = &job.password else {
            panic!("{job}")
        };
        format!(
            "{} {} {}",
            entry.file.display(),
            entry.machines.join(","),
            entry.login
        )
    };
    assert_eq!(netrc(ACCOUNT, "true"), "/home/me/.netrc localhost msingh");
    assert_eq!(
        netrc(TUNNELLED, "'netrc'"),
        "/etc/posthole/netrc localhost,popserver msingh"
    );
    let elsewhere = ACCOUNT.replace("localhost", "mail.example.org") + "via = 'gate'\n";
    assert_eq!(
        netrc(&elsewhere, "'~/n'"),
        "/home/me/n mail.example.org msingh"
    );
}

#[test]
fn credentials_are_in_the_directory_that_systemd_names() {
    let text = format!("{ACCOUNT}password = {{ credential = 'mail' }}");
    case(&text).refused(expect![[r#"
        there is no credential mail: CREDENTIALS_DIRECTORY is not set ^{ credential = 'mail' }^
          help: only a service of systemd has credentials: start it with LoadCredential=mail:FILE
    "#]]);
    let mut case = case(&text);
    let directory = (
        OsString::from("CREDENTIALS_DIRECTORY"),
        OsString::from("/run/credentials/posthole.service"),
    );
    case.environment.vars.extend([directory]);
    let job = case.job();
    let PasswordSource::Credential { name, path } = &job.password else {
        panic!("{job}")
    };
    assert_eq!(name, "mail");
    assert_eq!(path, Path::new("/run/credentials/posthole.service/mail"));
    assert_eq!(job.password.to_string(), "the credential mail of systemd");
}

#[test]
fn paths_start_at_home_at_the_file_or_where_the_command_was_given() {
    for (written, in_file, on_command_line) in [
        ("~", "/home/me", "/home/me"),
        ("~/Mail", "/home/me/Mail", "/home/me/Mail"),
        ("Mail", "/etc/posthole/Mail", "/cwd/Mail"),
        ("./~x", "/etc/posthole/./~x", "/cwd/./~x"),
        ("../Mail", "/etc/posthole/../Mail", "/cwd/../Mail"),
        ("/var/mail", "/var/mail", "/var/mail"),
    ] {
        let text = ACCOUNT.replace("maildir:Mail", &format!("maildir:{written}"));
        assert_eq!(
            case(&text).job().deliver,
            [DeliverTo::Maildir(in_file.into())]
        );
        let flags = case(ACCOUNT)
            .with(|flags| flags.deliver = Some(vec![Deliver::Maildir(written.into())]));
        assert_eq!(
            flags.job().deliver,
            [DeliverTo::Maildir(on_command_line.into())]
        );
    }
}

#[test]
fn a_file_named_relative_to_the_working_directory_is_where_it_is() {
    let (config, _) = config::parse(ACCOUNT);
    let file = ConfigFile {
        path: Path::new("conf/x.toml"),
        config: &config,
    };
    let environment = case("").environment;
    let plan = resolve(Some(file), &Overrides::default(), &environment, &NoOpenSsh).unwrap();
    assert_eq!(
        plan.jobs[0].deliver[0].to_string(),
        "maildir:/cwd/conf/Mail"
    );
}

#[test]
fn a_bare_environment_is_enough_when_everything_is_said() {
    let text = "[account.a]
server = 'pop3://u@localhost'
via = 'v@h'
deliver = 'maildir:/m'
[ssh.h]
known-hosts = '/k'
";
    let mut case = case(text);
    case.environment = Environment {
        cwd: "/".into(),
        ..Environment::default()
    };
    case.environment
        .vars
        .insert("XDG_STATE_HOME".into(), "/state".into());
    let hop = case.hop();
    assert_eq!(hop.identities, Vec::<PathBuf>::new());
    assert_eq!(hop.agent, None);
    assert_eq!(case.plan().state_dir, Path::new("/state/posthole"));
}

#[test]
fn what_a_bare_environment_lacks_is_said() {
    let text = "[account.a]
server = 'pop3://localhost'
via = 'h'
deliver = 'maildir:~/m'
";
    case(text)
        .without("HOME")
        .without("LOGNAME")
        .refused(expect![[r#"
            there is no directory for the records: no home directory is known
              help: set HOME, or XDG_STATE_HOME to an absolute path
            `a` names no user, and the local user's name is not known ^'pop3://localhost'^
              help: write the user into the URL: pop3://user@host
            no user is named for the SSH host h, and the local user's name is not known ^'h'^
              help: write `user@h`
            there is no known_hosts file: no home directory is known
              help: set HOME, or name a file with `known-hosts` in [ssh.NAME] or --known-hosts
            `~` stands for the home directory, which is not known ^'maildir:~/m'^
              help: set HOME, or write the path out
        "#]]);
}

#[test]
fn the_local_user_is_the_default_on_both_servers() {
    let case = url("pop3://localhost").via(&["h"]);
    assert_eq!(case.job().user, "me");
    assert_eq!(case.job().account, "localhost");
    assert_eq!(case.hop().user, "me");
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

#[test]
fn directories_follow_the_xdg_specification() {
    let environment = |vars: &[(&str, &str)]| {
        let vars = vars
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::new("/cwd".into(), vars)
    };
    let both = |environment: Environment| (environment.config_file(), environment.state_dir());
    assert_eq!(both(environment(&[])), (None, None));
    let home = (
        Some("/h/.config/posthole/config.toml".into()),
        Some("/h/.local/state/posthole".into()),
    );
    assert_eq!(both(environment(&[("HOME", "/h")])), home);
    // Empty and relative values are as good as none.
    let unusable = [
        ("HOME", "/h"),
        ("XDG_CONFIG_HOME", ""),
        ("XDG_STATE_HOME", "state"),
    ];
    assert_eq!(both(environment(&unusable)), home);
    let set = [
        ("HOME", "/h"),
        ("XDG_CONFIG_HOME", "/c"),
        ("XDG_STATE_HOME", "/s"),
    ];
    assert_eq!(
        both(environment(&set)),
        (
            Some("/c/posthole/config.toml".into()),
            Some("/s/posthole".into())
        )
    );
    assert_eq!(
        environment(&[("USER", "u"), ("LOGNAME", "l")])
            .user
            .as_deref(),
        Some("l")
    );
    assert_eq!(
        environment(&[("USER", "u"), ("LOGNAME", "")])
            .user
            .as_deref(),
        Some("u")
    );
}
