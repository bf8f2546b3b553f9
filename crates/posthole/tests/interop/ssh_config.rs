//! Configurations of OpenSSH made by chance: the plan agrees with `ssh -G` about each.

use posthole_testkit::Home;
use posthole_testkit::real::{Requirement, Suite};

use crate::world::run;

pub(crate) fn tests(suite: Suite) -> Suite {
    suite.test(
        "whatever_the_configuration_the_plan_is_what_ssh_would_do",
        &[Requirement::Ssh, Requirement::NssWrapper],
        whatever_the_configuration_the_plan_is_what_ssh_would_do,
    )
}

fn whatever_the_configuration_the_plan_is_what_ssh_would_do() {
    let home = Home::new();
    let mut rng = Rng(0x5eed);
    let without = ssh_g(&home, &["-F", "/dev/null", "--", "pop"]);
    for round in 0..60 {
        let config = random_config(&mut rng);
        home.write_ssh_config(&config);
        let (via, options): (_, &[&str]) = match rng.below(3) {
            0 => ("pop", &[]),
            1 => ("ms@pop", &["-l", "ms"]),
            _ => ("pop:2200", &["-p", "2200"]),
        };
        let ssh = ssh_g(&home, &[options, &["--", "pop"]].concat());
        let args = [
            "check",
            "--plan",
            "pop3://u@localhost",
            "--to",
            "maildir:~/Mail",
        ];
        let ended = run(&home, &[&args[..], &["--via", via]].concat());
        let plan: Vec<_> = ended.exits(0).stdout.lines().map(str::trim).collect();
        for line in expected(&home, &ssh, &without) {
            assert!(
                plan.contains(&line.as_str()),
                "round {round}: {line:?} is not in\n{}\nfor {via} by\n{config}",
                ended.stdout
            );
        }
    }
}

/// What `ssh -G` prints.
fn ssh_g(home: &Home, args: &[&str]) -> Vec<(String, String)> {
    let mut ssh = home.command_as_user("ssh".as_ref());
    let output = ssh.args(["-G", "-T"]).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
        .collect()
}

/// Some lines of the plan, worked out in another way than the program does.
fn expected(home: &Home, ssh: &[(String, String)], without: &[(String, String)]) -> Vec<String> {
    let all = |keyword: &str| -> Vec<&str> {
        let of_it = ssh.iter().filter(|(name, _)| name == keyword);
        of_it.map(|(_, value)| value.as_str()).collect()
    };
    let one = |keyword: &str| all(keyword).first().copied().unwrap_or_default();
    let home = home.path().display().to_string();
    let file = |path: &str| path.replace('~', &home);
    let time = |seconds: &str, ours: &str| match seconds {
        "0" | "none" => ours.to_owned(),
        "90" => "1m 30s".to_owned(),
        seconds => format!("{seconds}s"),
    };
    let mut lines = vec![
        format!("address: {}:{}", one("hostname"), one("port")),
        format!("user: {}", one("user")),
        format!("compression: {}", one("compression")),
        format!("connect timeout: {}", time(one("connecttimeout"), "30s")),
        format!("keepalive: {}", time(one("serveraliveinterval"), "30s")),
    ];
    let identities = all("identityfile").into_iter().map(file);
    let identities = identities.collect::<Vec<_>>().join(", ");
    lines.push(format!("identities, where they exist: {identities}"));
    let known = format!(
        "{} {}",
        one("userknownhostsfile"),
        one("globalknownhostsfile")
    );
    let known: Vec<_> = known.split(' ').filter(|file| *file != "none").collect();
    lines.push(format!("known hosts: {}", known.join(", ")));
    for (keyword, what) in [
        ("ciphers", "ciphers"),
        ("hostkeyalgorithms", "host key algorithms"),
    ] {
        let is_default = without
            .iter()
            .any(|(name, value)| name == keyword && value == one(keyword));
        if !is_default {
            lines.push(format!("{what}: {}", one(keyword).replace(',', ", ")));
        }
    }
    match one("stricthostkeychecking") {
        "true" => lines.push("unknown host keys: refused".to_owned()),
        "accept-new" => lines.push("unknown host keys: recorded".to_owned()),
        _ => {}
    }
    if let [command] = all("proxycommand")[..] {
        let command = command
            .replace("%h", one("hostname"))
            .replace("%p", one("port"))
            .replace("%r", one("user"))
            .replace("%n", "pop");
        lines.push(format!("proxy command: {command}"));
    }
    if let [jumps] = all("proxyjump")[..] {
        lines.extend(jumps.split(',').map(|jump| format!("via {jump}")));
    }
    lines
}

fn random_config(rng: &mut Rng) -> String {
    let mut config = String::new();
    for _ in 0..1 + rng.below(5) {
        let block = rng.pick(BLOCKS);
        config += &format!("{block}\n");
        for _ in 0..1 + rng.below(4) {
            config += &format!("  {}\n", rng.pick(SETTINGS));
        }
        // Everywhere else a jump host would be its own jump host.
        if block == "Host pop" && rng.below(2) == 0 {
            config += "  ProxyJump jump1,jump2\n";
        }
    }
    config
}

/// A linear congruential generator (Knuth, MMIX): the same configurations in every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const BLOCKS: &[&str] = &[
    "Host *",
    "Host pop",
    "Host p* !gate",
    "Host gate",
    "Host !pop *",
    "Match originalhost pop",
    "Match user ms",
    "Match host *.example.org",
    "Match all",
    "Match exec \"test -d /\"",
];
const SETTINGS: &[&str] = &[
    "HostName %h.example.org",
    "HostName 192.0.2.1",
    "User ms",
    "User other",
    "Port 2222",
    "Port 22",
    "Compression yes",
    "Compression no",
    "ConnectTimeout 7",
    "ConnectTimeout 90",
    "ServerAliveInterval 0",
    "ServerAliveInterval 5",
    "IdentityFile ~/.ssh/a",
    "IdentityFile /b",
    "UserKnownHostsFile ~/x ~/y",
    "UserKnownHostsFile %d/%n-%r",
    "UserKnownHostsFile none",
    "GlobalKnownHostsFile /g",
    "Ciphers aes128-gcm@openssh.com",
    "Ciphers -chacha20*",
    "HostKeyAlgorithms ^rsa-sha2-512",
    "StrictHostKeyChecking yes",
    "StrictHostKeyChecking no",
    "StrictHostKeyChecking accept-new",
    "ProxyCommand nc %h %p",
    "ProxyCommand none",
    "ProxyJump none",
];
