//! SSH hosts as OpenSSH's configuration has them, by an `ssh` that answers from a table.

mod fake;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;

use super::{Case, case, url};
use crate::openssh::{Files, OpenSsh};
use crate::plan::{
    AddressFamily, Backend, Hop, Overrides, Rekey, Route, SshOverrides, UnknownHostKey,
};

use fake::{Absent, Endless, Fake};

impl Case {
    fn openssh(mut self, fake: Fake) -> Self {
        self.openssh = Arc::new(fake);
        self
    }
}

fn via(hosts: &[&str], fake: Fake) -> Case {
    url("pop3://u@localhost").via(hosts).openssh(fake)
}

/// One host with these lines.
fn hop(lines: &'static str) -> Hop {
    via(&["h"], Fake::default().host("h", lines)).hop()
}

fn names(case: &Case) -> Vec<String> {
    let job = case.job();
    let Route::Ssh(hops) = &job.route else {
        panic!("{job}")
    };
    hops.iter()
        .map(|hop| format!("{}@{}", hop.user, hop.address))
        .collect()
}

#[test]
fn a_host_without_configuration_has_our_defaults_where_they_differ() {
    let hop = hop("");
    let expected = Hop {
        known_hosts: [
            "/home/me/.ssh/known_hosts",
            "/home/me/.ssh/known_hosts2",
            "/etc/ssh/ssh_known_hosts",
            "/etc/ssh/ssh_known_hosts2",
        ]
        .map(PathBuf::from)
        .to_vec(),
        identities: [
            "rsa",
            "ecdsa",
            "ecdsa_sk",
            "ed25519",
            "ed25519_sk",
            "xmss",
            "dsa",
        ]
        .map(|kind| PathBuf::from(format!("/home/me/.ssh/id_{kind}")))
        .to_vec(),
        agent: Some("/run/agent".into()),
        ..Hop::new("h", "me")
    };
    assert_eq!(format!("{hop:#?}"), format!("{expected:#?}"));
}

#[test]
fn every_keyword_that_we_obey_becomes_a_setting() {
    let hop = hop("hostname 192.0.2.1
user ms
port 2222
addressfamily inet6
bindaddress 192.0.2.7
compression yes
connecttimeout 120
serveraliveinterval 60
serveralivecountmax 5
ciphers aes128-gcm@openssh.com,aes256-ctr
kexalgorithms curve25519-sha256
macs hmac-sha2-256
hostkeyalgorithms ssh-ed25519,rsa-sha2-512
pubkeyacceptedalgorithms ssh-ed25519
rekeylimit 1073741824 3600
identityfile ~/.ssh/id_pop
identityfile /keys/with blank
identityfile relative
certificatefile ~/pop-cert.pub
identitiesonly yes
identityagent ~/agent
userknownhostsfile /home/me/hosts /home/me/more hosts
globalknownhostsfile none
hostkeyalias alias
stricthostkeychecking accept-new
hashknownhosts yes
preferredauthentications publickey,password
numberofpasswordprompts 1
proxycommand nc -x proxy %h %p # %r %n 100%%");
    expect![[r#"
        hop
          via h
            address: 192.0.2.1:2222
            user: ms
            proxy command: nc -x proxy 192.0.2.1 2222 # ms h 100%
            bind address: 192.0.2.7
            addresses: IPv6 only
            identities, where they exist: /home/me/.ssh/id_pop, /keys/with blank, /cwd/relative
            certificates: /home/me/pop-cert.pub
            agent: /home/me/agent, for these identities only
            methods: publickey, password
            known hosts: /home/me/hosts, /home/me/more hosts
            known as: alias
            unknown host keys: recorded
            new known hosts: hashed
            password: asked for when it is needed
            password prompts: 1
            compression: yes
            connect timeout: 2m
            keepalive: 1m, dead after 5 without an answer
            new keys: after 1073741824 octets or 1h
            ciphers: aes128-gcm@openssh.com, aes256-ctr
            key exchanges: curve25519-sha256
            macs: hmac-sha2-256
            host key algorithms: ssh-ed25519, rsa-sha2-512
            signature algorithms: ssh-ed25519
    "#]]
    .assert_eq(&format!("hop\n{hop}"));
    assert!(!hop.identities_named, "ssh does not mind a missing file");
}

#[test]
fn our_sections_win_over_openssh_and_flags_over_both() {
    let lines = "hostname 192.0.2.1
user ms
port 2222
compression yes
connecttimeout 120
serveraliveinterval 60
serveralivecountmax 5
ciphers aes256-ctr
identityfile ~/.ssh/id_pop
identitiesonly yes
identityagent ~/agent
userknownhostsfile /home/me/hosts
globalknownhostsfile /etc/hosts.keys
stricthostkeychecking accept-new
hashknownhosts yes
preferredauthentications password
numberofpasswordprompts 1
proxycommand nc %h %p
hostkeyalias alias
addressfamily inet
rekeylimit 1073741824 3600";
    let section = "[account.a]
server = 'pop3://u@localhost'
via = 'h'
deliver = 'maildir:/m'
[ssh.H]
hostname = '192.0.2.2'
user = 'us'
port = 22
compression = false
connect-timeout = '7s'
keepalive = '0s'
keepalive-max = 1
ciphers = 'aes128-ctr'
identity = '/id'
identities-only = false
agent = false
known-hosts = '/hosts'
strict-host-key-checking = 'yes'
hash-known-hosts = false
preferred-authentications = 'publickey'
password-prompts = 9
proxy-command = 'corkscrew %h'
host-key-alias = 'ours'
address-family = 'any'
rekey-limit = 'none'
";
    let fake = || Fake::default().host("h", lines);
    let ours = case(section).openssh(fake()).hop();
    expect![[r#"
        hop
          via h
            address: 192.0.2.2:22
            user: us
            proxy command: corkscrew 192.0.2.2
            identities: /id
            agent: none
            methods: publickey
            known hosts: /hosts, /etc/hosts.keys
            known as: ours
            unknown host keys: refused
            password: asked for when it is needed
            password prompts: 9
            compression: no
            connect timeout: 7s
            keepalive: never
            ciphers: aes128-ctr
    "#]]
    .assert_eq(&format!("hop\n{ours}"));
    assert_eq!(ours.rekey, Rekey::default());

    let flags = case(section)
        .openssh(fake())
        .via(&["f@h:33"])
        .with(|flags| {
            flags.ssh = SshOverrides {
                identity: Some(vec!["/f".into()]),
                known_hosts: Some(vec!["/f".into()]),
                compression: Some(true),
                keepalive: Some(Duration::from_secs(1)),
                connect_timeout: Some(Duration::from_secs(2)),
                agent: Some(crate::config::Agent::Socket("/f".into())),
            };
        });
    let hop = flags.hop();
    assert_eq!(hop.login(), "f@h");
    assert_eq!(hop.address.to_string(), "192.0.2.2:33");
    assert_eq!(hop.identities, [PathBuf::from("/f")]);
    assert_eq!(hop.known_hosts[0], Path::new("/f"));
    assert!(hop.compression);
    assert_eq!(hop.keepalive, Duration::from_secs(1));
    assert_eq!(hop.connect_timeout, Duration::from_secs(2));
    assert_eq!(hop.agent.as_deref(), Some(Path::new("/f")));
}

#[test]
fn openssh_is_told_what_it_does_not_decide() {
    let fake = Arc::new(Fake::default());
    let mut case = case(
        "[account.a]
server = 'pop3://u@localhost'
via = ['x@g', 'h:33']
deliver = 'maildir:/m'
[ssh.g]
user = 'y'
port = 44
[ssh.h]
user = 'z'
hostname = '192.0.2.2'
",
    );
    case.openssh = Arc::clone(&fake) as Arc<dyn OpenSsh>;
    case.job();
    let asked = fake.asked.lock().unwrap();
    let all: Vec<_> = asked
        .iter()
        .filter(|query| query.files == Files::All)
        .collect();
    let [g, h] = all[..] else { panic!("{asked:?}") };
    assert_eq!((g.user.as_deref(), g.port), (Some("x"), Some(44)));
    assert!(!g.is_behind);
    assert_eq!((h.user.as_deref(), h.port), (Some("z"), Some(33)));
    assert_eq!(h.hostname.as_deref(), Some("192.0.2.2"));
    assert!(h.is_behind);
}

#[test]
fn a_way_without_ssh_asks_nobody() {
    let fake = Arc::new(Fake::default());
    let mut case = url("pop3://u@localhost");
    case.openssh = Arc::clone(&fake) as Arc<dyn OpenSsh>;
    case.job();
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[test]
fn proxy_jump_puts_hosts_in_front_each_with_its_own_configuration() {
    let fake = || {
        Fake::default()
            .host(
                "pop",
                "hostname pop.internal\nproxyjump a@gate:2200,inner,[::1]:3",
            )
            .host(
                "gate",
                "hostname gate.example.org\nproxyjump outer\nuser nobody",
            )
            .host("outer", "user o\nproxycommand nc %h %p")
            .host("inner", "proxyjump elsewhere\nproxycommand none\nport 2201")
    };
    let case = via(&["pop"], fake());
    assert_eq!(
        names(&case),
        [
            "o@outer:22",
            // The fake has no mind of its own about -l, but the real one does as it is told.
            "a@gate.example.org:2200",
            "me@inner:2201",
            "me@[::1]:3",
            "me@pop.internal:22"
        ]
    );
    let job = case.job();
    let Route::Ssh(hops) = &job.route else {
        panic!("{job}")
    };
    assert_eq!(hops[0].proxy_command.as_deref(), Some("nc outer 22"));
    assert!(hops[1..].iter().all(|hop| hop.proxy_command.is_none()));
    assert_eq!(job.mailbox, "pop3:u@localhost via pop");
}

#[test]
fn a_list_of_hosts_replaces_the_jumps_of_all_but_the_first() {
    let fake = Fake::default()
        .host("first", "proxyjump outer")
        .host("second", "proxyjump elsewhere")
        .host("third", "proxycommand nc %h %p");
    let case = via(&["first", "second", "third"], fake);
    assert_eq!(
        names(&case),
        ["me@outer:22", "me@first:22", "me@second:22", "me@third:22"]
    );
    let job = case.job();
    let Route::Ssh(hops) = &job.route else {
        panic!("{job}")
    };
    assert!(hops.iter().all(|hop| hop.proxy_command.is_none()));
}

#[test]
fn a_proxy_command_of_ours_stands_in_the_place_of_jump_hosts() {
    for (ours, expected) in [("nc %h %p", Some("nc pop.internal 22")), ("none", None)] {
        let text = format!("[ssh.pop]\nproxy-command = '{ours}'");
        let mut case = case(&text);
        case.overrides = via(&["pop"], Fake::default()).overrides;
        let fake = Fake::default().host("pop", "hostname pop.internal\nproxyjump gate");
        let case = case.openssh(fake);
        assert_eq!(names(&case), ["me@pop.internal:22"]);
        assert_eq!(case.hop().proxy_command.as_deref(), expected);
    }
}

#[test]
fn jump_hosts_may_be_named_after_the_host() {
    let fake = Fake::default().host("pop", "hostname p.example\nproxyjump %r@gate-%n,%h:%p");
    assert_eq!(
        names(&via(&["pop"], fake)),
        ["me@gate-pop:22", "me@p.example:22", "me@p.example:22"]
    );
}

#[test]
fn jump_hosts_that_lead_nowhere_are_refused() {
    let circle = Fake::default()
        .host("a", "proxyjump b")
        .host("b", "proxyjump c,d")
        .host("c", "proxyjump A");
    via(&["x", "a"], Fake::default()).job();
    via(&["a"], circle).refused(expect![[r#"
        the jump hosts of a lead in a circle: a through b through c through a
          help: write ProxyJump none for the first of them into ~/.ssh/config
    "#]]);
    let endless = Fake::default().host("h", "proxyjump h%n");
    let mut case = via(&["h"], Fake::default());
    case.openssh = Arc::new(Endless(endless));
    case.refused(expect![[r#"
        the jump hosts of h have jump hosts in turn, and that more than 16 times
          help: write ProxyJump none for the first of them into ~/.ssh/config
    "#]]);
    for jump in ["-oProxyCommand=x", "a,,b", "a%C", "http://x", "a:99999"] {
        let lines: &'static str = Box::leak(format!("proxyjump {jump}").into_boxed_str());
        let found = via(&["h"], Fake::default().host("h", lines))
            .resolve()
            .unwrap_err();
        assert_eq!(found.len(), 1, "{jump}: {found:?}");
        assert!(
            found[0]
                .message
                .starts_with("the ProxyJump of h is of no use: "),
            "{found:?}"
        );
    }
}

#[test]
fn a_mistake_in_opensshs_configuration_is_told_once() {
    let mut case = case(
        "[defaults]
via = 'h'
deliver = 'maildir:/m'
[account.a]
server = 'pop3://a@localhost'
[account.b]
server = 'pop3://b@localhost'
",
    );
    case.openssh = Arc::new(Fake::default().host("h", "broken"));
    case.refused(expect![[r#"
        OpenSSH's configuration forbids connections to h: broken
          help: the line `RefuseConnection` is in ~/.ssh/config or /etc/ssh/ssh_config
    "#]]);
}

#[test]
fn proxy_commands_that_ssh_would_refuse_are_refused() {
    for command in ["nc %C", "nc %", "-"] {
        let lines: &'static str = Box::leak(format!("proxycommand {command}").into_boxed_str());
        let found = via(&["h"], Fake::default().host("h", lines))
            .resolve()
            .unwrap_err();
        assert!(
            found[0]
                .message
                .starts_with("the proxy command of h is of no use: "),
            "{found:?}"
        );
    }
    let mut case = case("[ssh.h]\nproxy-command = 'nc %x'");
    case.overrides = via(&["h"], Fake::default()).overrides;
    case.refused(expect![[r#"
        the proxy command of h is of no use: there is no token `%x` ^'nc %x'^
          help: the tokens are %h, %n, %p, %r and %%; see ssh_config(5)
    "#]]);
}

#[test]
fn checking_of_host_keys_is_never_weakened() {
    for (lines, expected) in [
        ("", UnknownHostKey::Ask),
        ("stricthostkeychecking ask", UnknownHostKey::Ask),
        ("stricthostkeychecking true", UnknownHostKey::Refuse),
        ("stricthostkeychecking accept-new", UnknownHostKey::Record),
        ("stricthostkeychecking false", UnknownHostKey::Ask),
        ("stricthostkeychecking perhaps", UnknownHostKey::Ask),
        ("batchmode yes", UnknownHostKey::Refuse),
        (
            "batchmode yes\nstricthostkeychecking accept-new",
            UnknownHostKey::Record,
        ),
        ("checkhostip no", UnknownHostKey::Ask),
        ("nohostauthenticationforlocalhost yes", UnknownHostKey::Ask),
    ] {
        assert_eq!(hop(lines).unknown_host_key, expected, "{lines}");
    }
    let off = Fake::default().host("h", "stricthostkeychecking false");
    let plan = via(&["h"], off).plan();
    assert_eq!(
        plan.remarks.notices,
        [
            "OpenSSH's configuration turns StrictHostKeyChecking off for h, and an unknown host key \
             is asked about all the same"
        ]
    );
    assert!(plan.remarks.warnings.is_empty());
}

#[test]
fn known_hosts_files_are_told_apart() {
    for (lines, expected) in [
        (
            "userknownhostsfile none\nglobalknownhostsfile /g",
            &["/g"][..],
        ),
        (
            "userknownhostsfile /a b c /d e\nglobalknownhostsfile none",
            &["/a b c", "/d e"],
        ),
        (
            "userknownhostsfile ~/a ~/b\nglobalknownhostsfile /g /h",
            &["/home/me/a", "/home/me/b", "/g", "/h"],
        ),
        (
            "userknownhostsfile a b\nglobalknownhostsfile none",
            &["/cwd/a", "/cwd/b"],
        ),
        (
            "userknownhostsfile /dev/null\nglobalknownhostsfile none",
            &["/dev/null"],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(hop(lines).known_hosts, expected, "{lines}");
    }
}

#[test]
fn identities_and_agents_are_those_of_openssh() {
    assert!(hop("identityfile none").identities.is_empty());
    assert_eq!(
        hop("identityfile ~/a\nidentityfile ~").identities,
        ["/home/me/a", "/home/me"].map(PathBuf::from)
    );
    for (lines, expected) in [
        ("", Some("/run/agent")),
        ("identityagent SSH_AUTH_SOCK", Some("/run/agent")),
        ("identityagent none", None),
        ("identityagent /a b", Some("/a b")),
        ("identityagent ~/a", Some("/home/me/a")),
        ("identityagent $MAILPW", Some("hunter2")),
        ("identityagent $UNSET", None),
    ] {
        assert_eq!(
            hop(lines).agent.as_deref(),
            expected.map(Path::new),
            "{lines}"
        );
    }
}

#[test]
fn methods_that_are_switched_off_are_left_out() {
    let all = ["publickey", "keyboard-interactive", "password"];
    for (lines, expected) in [
        ("", None),
        ("gssapiauthentication yes", None),
        ("passwordauthentication no", Some(&all[..2])),
        ("pubkeyauthentication false", Some(&all[1..])),
        ("pubkeyauthentication unbound", None),
        (
            "kbdinteractiveauthentication no",
            Some(&["publickey", "password"]),
        ),
        (
            "challengeresponseauthentication no",
            Some(&["publickey", "password"]),
        ),
        ("batchmode yes", Some(&all[..1])),
        (
            "preferredauthentications password,gssapi-with-mic,publickey",
            Some(&["password", "gssapi-with-mic", "publickey"]),
        ),
        (
            "preferredauthentications password,publickey\npasswordauthentication no",
            Some(&["publickey"]),
        ),
    ] {
        let methods = hop(lines).methods;
        let expected = expected.map(|methods| methods.to_vec());
        assert_eq!(
            methods
                .as_ref()
                .map(|all| all.iter().map(String::as_str).collect()),
            expected,
            "{lines}"
        );
    }
    // A password that nobody is asked for is no question.
    let mut case = case("[ssh.h]\npassword = { command = 'pass' }");
    case.overrides = via(&["h"], Fake::default()).overrides;
    let case = case.openssh(Fake::default().host("h", "batchmode yes"));
    assert_eq!(case.hop().methods, None);
}

fn needed_for(case: &Case) -> Option<String> {
    match case.hop().backend {
        Backend::BuiltIn => None,
        Backend::OpenSsh { needed_for } => Some(needed_for.expect("nobody asked for it outright")),
    }
}

#[test]
fn what_only_openssh_can_do_is_left_to_it() {
    for (lines, expected) in [
        ("", None),
        ("bindinterface eth0", Some("BindInterface")),
        (
            "casignaturealgorithms ssh-ed25519",
            Some("CASignatureAlgorithms"),
        ),
        ("requiredrsasize 3072", Some("RequiredRSASize")),
        ("revokedhostkeys /krl", Some("RevokedHostKeys")),
        ("revokedhostkeys none", None),
        ("knownhostscommand /bin/keys %H", Some("KnownHostsCommand")),
        ("pkcs11provider /usr/lib/opensc.so", Some("PKCS11Provider")),
        ("verifyhostkeydns true", Some("VerifyHostKeyDNS")),
        ("verifyhostkeydns ask", None),
        (
            "hostbasedauthentication yes",
            Some("HostbasedAuthentication"),
        ),
        ("verifyhostkeydns false", None),
        (
            "hostbasedauthentication yes\npreferredauthentications publickey",
            None,
        ),
        ("proxyusefdpass yes", None),
        (
            "proxyusefdpass yes\nproxycommand connect %h",
            Some("ProxyUseFdpass"),
        ),
        (
            "preferredauthentications gssapi-with-mic,hostbased",
            Some("PreferredAuthentications gssapi-with-mic,hostbased"),
        ),
        ("controlmaster auto\ncontrolpath /home/me/cm", None),
        ("securitykeyprovider /usr/lib/sk.so", None),
        ("forwardagent yes", None),
    ] {
        let case = via(&["h"], Fake::default().host("h", lines));
        assert_eq!(needed_for(&case).as_deref(), expected, "{lines}");
    }
}

#[test]
fn an_open_master_connection_is_used() {
    let lines = "controlmaster auto\ncontrolpath /home/me/cm";
    let fake = Fake::default().host("h", lines).there("/home/me/cm");
    assert_eq!(
        needed_for(&via(&["h"], fake)).as_deref(),
        Some("ControlPath, where a master connection is open")
    );
}

#[test]
fn kerberos_is_used_where_there_is_a_ticket_and_a_wish() {
    let ticket = |lines, system| {
        let mut fake = Fake::default().host("h", lines);
        fake.system = system;
        fake.has_ticket = true;
        fake
    };
    let on = "gssapiauthentication yes";
    let wished = Some("GSSAPIAuthentication".to_owned());
    // Debian's default, for everybody, and somebody who happens to have a key, or an agent.
    let with_key = ticket(on, on).there("/home/me/.ssh/id_ed25519");
    assert_eq!(needed_for(&via(&["h"], with_key)), None);
    let with_agent = ticket(on, on).there("/run/agent");
    assert_eq!(needed_for(&via(&["h"], with_agent)), None);
    // Nothing else to log in with.
    assert_eq!(needed_for(&via(&["h"], ticket(on, on))), wished);
    // The person's own wish.
    let own = ticket(on, "").there("/home/me/.ssh/id_ed25519");
    assert_eq!(needed_for(&via(&["h"], own)), wished);
    // No ticket, not on, or not among the methods.
    let without = Fake::default().host("h", on);
    assert_eq!(needed_for(&via(&["h"], without)), None);
    assert_eq!(needed_for(&via(&["h"], ticket("", ""))), None);
    let others = "gssapiauthentication yes\npreferredauthentications publickey";
    assert_eq!(needed_for(&via(&["h"], ticket(others, ""))), None);
}

#[test]
fn what_the_system_sets_for_everybody_sends_nobody_to_openssh() {
    // As on Fedora.
    let policy = "gssapiauthentication yes
casignaturealgorithms ecdsa-sha2-nistp256,ssh-ed25519
requiredrsasize 2048
ciphers aes256-gcm@openssh.com,aes256-ctr";
    let system = |own| {
        let mut fake = Fake::default().host("h", own);
        fake.system = policy;
        fake
    };
    assert_eq!(needed_for(&via(&["h"], system(policy))), None);
    let own = "requiredrsasize 3072\ncasignaturealgorithms ecdsa-sha2-nistp256,ssh-ed25519";
    let needed = needed_for(&via(&["h"], system(own)));
    assert_eq!(needed.as_deref(), Some("RequiredRSASize"));

    // Where hosts vouch for their users, they do so for those who have nothing else.
    let hostbased = "hostbasedauthentication yes";
    let cluster = || {
        let mut fake = Fake::default().host("h", hostbased);
        fake.system = hostbased;
        fake
    };
    let needed = needed_for(&via(&["h"], cluster()));
    assert_eq!(needed.as_deref(), Some("HostbasedAuthentication"));
    let with_key = cluster().there("/home/me/.ssh/id_rsa");
    assert_eq!(needed_for(&via(&["h"], with_key)), None);
}

#[test]
fn security_keys_without_an_agent_are_left_to_openssh() {
    let lines = "identityfile ~/sk\nidentityfile ~/missing";
    let sk = || {
        Fake::default()
            .host("h", lines)
            .security_key("/home/me/sk", true)
    };
    let wanted = Some("SecurityKeyProvider".to_owned());
    assert_eq!(needed_for(&via(&["h"], sk())), wanted);
    assert_eq!(needed_for(&via(&["h"], sk().there("/run/agent"))), None);
    let another = sk().security_key("/home/me/missing", false);
    assert_eq!(needed_for(&via(&["h"], another)), None);
}

#[test]
fn the_client_may_be_chosen() {
    let with = |backend: &str, fake: Option<Fake>| {
        let mut case = case(&format!("[ssh.h]\nbackend = '{backend}'"));
        case.overrides = via(&["h"], Fake::default()).overrides;
        match fake {
            Some(fake) => case.openssh(fake),
            None => case,
        }
    };
    let pkcs11 = || Some(Fake::default().host("h", "pkcs11provider /p.so"));
    assert_eq!(with("builtin", pkcs11()).hop().backend, Backend::BuiltIn);
    assert_eq!(
        with("openssh", Some(Fake::default())).hop().backend,
        Backend::OpenSsh { needed_for: None }
    );
    // Not at the cost of a check.
    for check in [
        "revokedhostkeys /krl",
        "knownhostscommand /bin/keys %H",
        "requiredrsasize 3072",
        "casignaturealgorithms ssh-ed25519",
        "verifyhostkeydns yes",
        "pkcs11provider /p.so\nrevokedhostkeys /krl",
    ] {
        let case = with("builtin", Some(Fake::default().host("h", check)));
        let said = case.errors();
        assert!(
            said.contains("the check that OpenSSH's configuration asks for: "),
            "{check}: {said}"
        );
    }
    with("openssh", None).refused(expect![[r#"
        h is to be reached by OpenSSH, but there is no `ssh` that works ^'openssh'^
          help: install OpenSSH's client, or write backend = "builtin"
    "#]]);
}

#[test]
fn names_from_the_configuration_keep_the_rules_for_names() {
    let lines = |lines| via(&["h"], Fake::default().host("h", lines));
    for refused in [
        "hostname -oProxyCommand=x",
        "hostname $(id)",
        "user a;b",
        "user -l",
    ] {
        let said = lines(refused).errors();
        assert!(
            said.contains(" of the SSH host h is not usable: "),
            "{refused}: {said}"
        );
    }
    for address in ["fe80::1%eth0", "::1", "192.0.2.7", "mail.example.org"] {
        let text: &'static str = Box::leak(format!("hostname {address}").into_boxed_str());
        assert_eq!(lines(text).hop().address.host, address);
    }
}

#[test]
fn a_configuration_that_nobody_reads_is_pointed_out_once() {
    let mut case = url("pop3://u@localhost").via(&["a", "b"]);
    case.openssh = Arc::new(Absent);
    let plan = case.plan();
    let [warning] = &plan.remarks.warnings[..] else {
        panic!("{:?}", plan.remarks)
    };
    assert!(!warning.is_error());
    assert_eq!(
        warning.message,
        "/home/me/.ssh/config is not read, because there is no `ssh` that works"
    );
    assert_eq!(names(&case), ["me@a:22", "me@b:22"]);
    // Where SSH is not gone through, nobody cares.
    case.overrides = Overrides {
        via: Some(Vec::new()),
        ..case.overrides
    };
    assert!(case.plan().remarks.warnings.is_empty());
}

#[test]
fn a_section_for_a_host_that_is_nearly_gone_through_is_pointed_out() {
    let text = "[account.a]
server = 'pop3://u@localhost'
via = 'pop1'
deliver = 'maildir:/m'
[ssh.pop2]
[ssh.pop3]
[ssh.other]
[ssh.POP1]
";
    // It is a jump host, by what OpenSSH says.
    let fake = || Fake::default().host("pop1", "proxyjump pop2");
    let plan = case(text).openssh(fake()).plan();
    let [warning] = &plan.remarks.warnings[..] else {
        panic!("{:?}", plan.remarks)
    };
    assert_eq!(warning.message, "nothing goes through `pop3`");
    assert_eq!(&text[warning.span.clone().unwrap()], "pop3");
    assert_eq!(warning.label, "did you mean `pop2`?");
    // The command line goes where it likes.
    let case = case(text).openssh(fake()).via(&["pop1"]);
    assert!(case.plan().remarks.warnings.is_empty());
}

#[test]
fn the_families_of_addresses_have_opensshs_names() {
    for (lines, expected) in [
        ("addressfamily any", AddressFamily::Any),
        ("addressfamily inet", AddressFamily::Inet),
        ("addressfamily inet6", AddressFamily::Inet6),
    ] {
        assert_eq!(hop(lines).address_family, expected);
    }
}
