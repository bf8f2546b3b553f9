//! Names of hosts and users that are commands, or options, or steer a terminal.
//!
//! They are refused wherever they come from, before `ssh` is asked about them and before they stand
//! in a proxy command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use posthole_testkit::Home;

const HOSTS: [&str; 16] = [
    "-oProxyCommand=touch${IFS}ran",
    "-V",
    "$(touch ran)",
    "$HOME",
    "`touch ran`",
    "pop;touch ran",
    "pop|touch ran",
    "pop&touch ran",
    "pop>ran",
    "pop\ntouch ran",
    "pop\r",
    "pop'x",
    "pop\"x",
    "pop\\x",
    "pop\u{1b}[2J",
    "pop\u{202e}x",
];

const USERS: [&str; 11] = [
    "-oProxyCommand=touch${IFS}ran",
    "-l",
    "$(touch ran)",
    "`touch ran`",
    "me;touch ran",
    "me|touch ran",
    "me&touch ran",
    "me>ran",
    "me\ntouch ran",
    "me\u{1b}[2J",
    "me\u{202e}x",
];

pub(crate) fn reach_no_command() {
    // So that it is known to be run where it may be.
    let scene = Scene::new();
    scene.config("pop", "hostname = \"127.0.0.1\"\nuser = \"me\"\n");
    scene.fetch(&[]);
    assert!(scene.has_run(), "the proxy command of a good name is run");

    for host in HOSTS {
        let scene = Scene::new();
        scene.config(host, "");
        scene.is_refused(host, &[]);

        let scene = Scene::new();
        scene.config("pop", &format!("hostname = {}\n", toml(host)));
        scene.is_refused(host, &[]);

        let scene = Scene::new();
        scene.config("pop", "");
        scene.is_refused(host, &["--via", host]);
    }
    for user in USERS {
        let login = format!("{user}@pop");
        let scene = Scene::new();
        scene.config(&login, "");
        scene.is_refused(user, &[]);

        let scene = Scene::new();
        scene.config("pop", &format!("user = {}\n", toml(user)));
        scene.is_refused(user, &[]);

        let scene = Scene::new();
        scene.config("pop", "");
        scene.is_refused(user, &["--via", &login]);
    }
    // What OpenSSH's configuration makes of a good name.
    let in_a_line = |name: &&str| !name.contains(['\n', '\r']);
    for (keyword, names) in [("hostname", &HOSTS[..]), ("user", &USERS)] {
        for name in names.iter().copied().filter(in_a_line) {
            let scene = Scene::new();
            scene.config("pop", "");
            scene.answer(&format!("{keyword} {name}\n"));
            scene.is_refused(name, &[]);
        }
    }
}

/// A home with an `ssh` that notes what it is asked.
struct Scene {
    home: Home,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let bin = home.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let ssh = bin.join("ssh");
        fs::write(
            &ssh,
            "#!/bin/sh\n\
             printf '%s\\n' \"$@\" >>\"$HOME/asked\"\n\
             for host; do :; done\n\
             case $host in\n\
             # Whose answer is what nobody wrote.\n\
             localhost) printf 'port 22\\nuser nobody\\nhostname localhost\\n' ;;\n\
             *) cat \"$HOME/answer\" 2>/dev/null || echo 'port 22' ;;\n\
             esac\n",
        )
        .unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
        home.write_password("sesame");
        Self { home }
    }

    /// An account by way of a host, and what is said of that.
    fn config(&self, via: &str, ssh: &str) {
        let host = via.rsplit('@').next().unwrap();
        self.home.write_config(&format!(
            "[account.work]\n\
             server = \"pop3://msingh@localhost\"\n\
             via = {}\n\
             password = {{ file = \"~/mail-password\" }}\n\
             deliver = \"maildir:~/Mail\"\n\
             [ssh.{}]\n\
             connect-timeout = \"1s\"\n\
             proxy-command = 'touch \"$HOME/ran\" # %h %n %r'\n\
             {ssh}",
            toml(via),
            toml(host),
        ));
    }

    /// What `ssh -G` is to say.
    fn answer(&self, lines: &str) {
        let others = "port 22\nuser me\nhostname pop\n";
        let keyword = lines.split(' ').next().unwrap();
        let others = others.lines().filter(|line| !line.starts_with(keyword));
        let others = others.map(|line| format!("{line}\n")).collect::<String>();
        fs::write(self.home.path().join("answer"), others + lines).unwrap();
    }

    fn fetch(&self, arguments: &[&str]) -> Output {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![self.home.path().join("bin")];
        paths.extend(std::env::split_paths(&path));
        self.home
            .command(Path::new(env!("CARGO_BIN_EXE_posthole")))
            .arg("fetch")
            .args(arguments)
            .env("PATH", std::env::join_paths(paths).unwrap())
            .output()
            .unwrap()
    }

    fn has_run(&self) -> bool {
        self.home.path().join("ran").exists()
    }

    #[track_caller]
    fn is_refused(&self, name: &str, arguments: &[&str]) {
        let output = self.fetch(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        // EX_CONFIG and EX_USAGE (sysexits(3)).
        assert!(
            matches!(output.status.code(), Some(78 | 64 | 2)),
            "{name:?} {arguments:?}: {}\n{said}",
            output.status
        );
        // To the command line it is an option of ours, and there is no such option.
        let is_no_option = name.starts_with('-') && !arguments.is_empty();
        assert!(said.contains("name") || is_no_option, "{name:?}: {said}");
        let is_clean = |c: char| c == '\n' || !c.is_control();
        assert!(said.chars().all(is_clean), "{name:?}: {said:?}");
        assert!(!self.has_run(), "{name:?} {arguments:?}: {said}");
        let asked = fs::read_to_string(self.home.path().join("asked")).unwrap_or_default();
        assert!(!asked.contains(name), "{name:?}: {asked}");
    }
}

/// A string of TOML.
fn toml(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}
