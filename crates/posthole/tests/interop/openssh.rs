//! Hosts that only `~/.ssh/config` knows how to reach: whoever gets there with `ssh popserver` gets
//! there with `--via popserver`.

use std::fs;

use posthole_testkit::Home;
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Sshd, Suite};

use crate::world::{BIN, Ended, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "an_alias_of_the_configuration_is_enough",
            needs,
            an_alias_of_the_configuration_is_enough,
        )
        .test(
            "jump_hosts_are_those_of_the_configuration",
            needs,
            jump_hosts_are_those_of_the_configuration,
        )
        .test(
            "a_list_of_hosts_goes_through_them_in_order",
            needs,
            a_list_of_hosts_goes_through_them_in_order,
        )
        .test(
            "a_host_is_trusted_under_its_alias",
            needs,
            a_host_is_trusted_under_its_alias,
        )
        .test(
            "a_mistake_in_the_configuration_is_told_in_the_words_of_ssh",
            needs,
            a_mistake_in_the_configuration_is_told_in_the_words_of_ssh,
        )
        .test(
            "the_plan_shows_what_the_configuration_comes_to",
            needs,
            the_plan_shows_what_the_configuration_comes_to,
        )
}

/// The home of `host` with nothing where posthole would look by itself, and its key in `id_pop`.
fn bare(host: &Mailhost) -> &Home {
    let home = host.home();
    fs::remove_file(home.config()).unwrap();
    fs::remove_file(home.known_hosts()).unwrap();
    fs::rename(home.identity(), home.path().join(".ssh/id_pop")).unwrap();
    home
}

fn fetch(host: &Mailhost, via: &[&str]) -> Vec<String> {
    let mut args = vec!["fetch".to_owned(), host.url()];
    args.extend(
        via.iter()
            .flat_map(|host| ["--via".into(), (*host).to_owned()]),
    );
    args.extend(["--to", "maildir:~/Mail", "--password-file", "mail-password"].map(str::to_owned));
    args
}

fn run_fetch(host: &Mailhost, via: &[&str]) -> Ended {
    let args = fetch(host, via);
    run(
        host.home(),
        &args.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}

fn an_alias_of_the_configuration_is_enough() {
    let messages = mail::corpus(51, 20);
    let host = Mailhost::start(&messages);
    let home = bare(&host);
    fs::create_dir(home.path().join(".ssh/more")).unwrap();
    // The name of the user decides about the port, an included file about the name, and a token
    // about the key.
    home.write_ssh_config(
        "Include more/*.conf\n\
         Match originalhost popserver user msingh exec \"test -d .ssh\"\n\
         \x20 Include more/port\n\
         Host *\n\
         \x20 IdentityFile ~/.ssh/id_%n\n\
         \x20 UserKnownHostsFile \"~/.ssh/hosts of pop\"\n",
    );
    let ssh = home.path().join(".ssh");
    fs::write(
        ssh.join("more/pop.conf"),
        "Host pop*\n  HostName 127.0.0.1\n  User msingh\n",
    )
    .unwrap();
    fs::write(
        ssh.join("more/port"),
        format!("Port {}\n", host.sshd().port()),
    )
    .unwrap();
    fs::rename(ssh.join("id_pop"), ssh.join("id_popserver")).unwrap();
    fs::write(
        ssh.join("hosts of pop"),
        host.sshd().known_hosts_line("127.0.0.1"),
    )
    .unwrap();

    run_fetch(&host, &["popserver"]).exits(0);
    home.assert_delivered(&messages);
    // The same by a file, whose own section would win.
    home.write_config(&format!(
        "[account.work]\nserver = \"{}\"\nvia = \"popserver\"\ndeliver = \"maildir:~/Mail\"\n\
         password = {{ file = \"~/mail-password\" }}\n[ssh.popserver]\nport = 1\n",
        host.url()
    ));
    run(home, &["fetch"])
        .exits(75)
        .says(&["cannot connect to 127.0.0.1:1"]);
}

/// Two hosts in front of the mail host, each with a key of its own.
struct Gates {
    outer: Sshd,
    inner: Sshd,
}

impl Gates {
    fn start(host: &Mailhost) -> Self {
        let home = host.home();
        let gate = |name: &str, next: u16| {
            let key = keys::generate(KeyType::Ed25519);
            let path = home.path().join(format!(".ssh/id_{name}"));
            keys::write(path, &key, KeyFormat::OpenSsh, None);
            Sshd::builder()
                .key(key.public_key())
                .permit_open("127.0.0.1", next)
                .start()
        };
        let inner = gate("inner", host.sshd().port());
        let outer = gate("outer", inner.port());
        let known: String = [&outer, &inner, host.sshd()]
            .map(|sshd| sshd.known_hosts_line("127.0.0.1"))
            .concat();
        home.write_known_hosts(&known);
        Self { outer, inner }
    }

    /// What is to be known about all three, but not how to get to them.
    fn config(&self, host: &Mailhost) -> String {
        let Self { outer, inner } = self;
        let entry = |name: &str, port: u16| {
            format!(
                "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User msingh\n  \
                 IdentityFile ~/.ssh/id_{name}\n  IdentitiesOnly yes\n"
            )
        };
        [
            entry("outer", outer.port()),
            entry("inner", inner.port()),
            entry("pop", host.sshd().port()),
        ]
        .concat()
    }

    /// Checks that each host was logged in to with its own key, and from the one before it.
    #[track_caller]
    fn were_gone_through(&self, host: &Mailhost) {
        for sshd in [&self.outer, &self.inner, host.sshd()] {
            let log = sshd.log();
            assert_eq!(
                log.matches("Accepted publickey for msingh").count(),
                1,
                "{log}"
            );
        }
    }
}

fn jump_hosts_are_those_of_the_configuration() {
    for jumps in [
        "Host pop\n  ProxyJump outer,inner\n",
        "Host pop\n  ProxyJump inner\nHost inner\n  ProxyJump outer\n",
        "Match originalhost pop\n  ProxyJump msingh@inner\nMatch originalhost inner\n  ProxyJump outer\n",
    ] {
        let messages = mail::corpus(52, 5);
        let host = Mailhost::start(&messages);
        let home = bare(&host);
        let gates = Gates::start(&host);
        home.write_ssh_config(&format!("{jumps}{}", gates.config(&host)));
        run_fetch(&host, &["pop"]).exits(0);
        home.assert_delivered(&messages);
        gates.were_gone_through(&host);
    }
}

fn a_list_of_hosts_goes_through_them_in_order() {
    let messages = mail::corpus(53, 5);
    let host = Mailhost::start(&messages);
    let home = bare(&host);
    let gates = Gates::start(&host);
    // Only the first one's own jump hosts would count, and it has none.
    home.write_ssh_config(&format!(
        "Host inner pop\n  ProxyJump nowhere\n{}",
        gates.config(&host)
    ));
    run_fetch(&host, &["outer", "inner", "pop"]).exits(0);
    home.assert_delivered(&messages);
    gates.were_gone_through(&host);
}

fn a_host_is_trusted_under_its_alias() {
    let messages = mail::corpus(54, 2);
    let host = Mailhost::start(&messages);
    let home = bare(&host);
    let gates = Gates::start(&host);
    home.write_ssh_config(&format!(
        "Host pop\n  ProxyJump outer,inner\n  UserKnownHostsFile ~/.ssh/pop_hosts\n{}",
        gates.config(&host)
    ));
    let file = home.path().join(".ssh/pop_hosts");
    run_fetch(&host, &["pop"])
        .exits(68)
        .says(&["is not known", "posthole trust"]);
    let fingerprint = keys::fingerprint(host.sshd().host_key());
    run(home, &["trust", "pop", "--fingerprint", &fingerprint])
        .exits(0)
        .prints(&["pop_hosts"]);
    assert!(file.exists());
    run_fetch(&host, &["pop"]).exits(0);
    home.assert_delivered(&messages);
}

fn a_mistake_in_the_configuration_is_told_in_the_words_of_ssh() {
    let host = Mailhost::start([mail::tiny(1)]);
    host.home().write_ssh_config("Host *\n  Compresion yes\n");
    run(host.home(), &["fetch"]).exits(78).says(&[
        "posthole: OpenSSH's configuration for 127.0.0.1 does not work: ",
        ".ssh/config: line 2: Bad configuration option: compresion",
        "hint: put it right in ~/.ssh/config or /etc/ssh/ssh_config; `ssh 127.0.0.1` fails",
    ]);
    assert!(!host.maildir().exists());
}

fn the_plan_shows_what_the_configuration_comes_to() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    home.write_ssh_config(
        "Host pop\n  HostName 192.0.2.1\n  Compression yes\n  StrictHostKeyChecking no\n  \
         PKCS11Provider /p11.so\n  ProxyJump gate:2222\n",
    );
    let mut args = fetch(&host, &["pop"]);
    args[0] = "check".to_owned();
    args.push("--plan".to_owned());
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    run(home, &args).exits(0).prints(&[
        "  via gate\n    address: gate:2222\n    user: msingh\n",
        "  via pop\n    address: 192.0.2.1:22\n    user: msingh\n    client: ssh, for its PKCS11Provider",
        "    compression: yes\n",
        "note: OpenSSH's configuration turns StrictHostKeyChecking off for pop",
    ]);
    // Without OpenSSH nobody reads it, and that is said, but not to cron.
    let without = |args: &[&str]| {
        let mut command = home.posthole(BIN.as_ref());
        command.args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let warned = without(&args);
    assert_eq!(
        warned,
        format!(
            "posthole: {}/.ssh/config is not read, because there is no `ssh` that works\n  \
             hint: install OpenSSH's client, or write what is needed into [ssh.NAME]\n",
            home.path().display()
        )
    );
    let quiet: Vec<_> = ["-q"].into_iter().chain(args.iter().copied()).collect();
    assert_eq!(without(&quiet), "");
}
