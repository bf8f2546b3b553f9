//! Commands as people write them, and what is made of them.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

fn variables(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/me".to_owned()),
        "USER" => Some("me".to_owned()),
        "WORDS" => Some("two words".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn host_port(target: &HostPort) -> String {
    format!("{}:{}", target.host, target.port)
}

/// A command on one line: where it connects, how, and what it forwards.
fn show(command: &SshCommand) -> String {
    let SshCommand {
        host,
        user,
        port,
        config_file,
        settings,
        forwards,
    } = command;
    let mut out = String::new();
    if let Some(user) = user {
        write!(out, "{user}@").unwrap();
    }
    out.push_str(host);
    if let Some(port) = port {
        write!(out, " port {port}").unwrap();
    }
    if let Some(file) = config_file {
        write!(out, " -F {file}").unwrap();
    }
    for Setting { keyword, value } in settings {
        write!(out, " {keyword}={value}").unwrap();
    }
    for forward in forwards {
        let bind = forward
            .bind
            .as_ref()
            .map_or(String::new(), |bind| format!("[{bind}]:"));
        write!(
            out,
            " | {bind}{} to {}",
            forward.port,
            host_port(&forward.to)
        )
        .unwrap();
    }
    out
}

#[track_caller]
fn check_preconnects(commands: &[&str], expect: Expect) {
    let mut out = String::new();
    for command in commands {
        let understood = SshCommand::of_preconnect(command.as_bytes(), &variables);
        let shown =
            understood.map_or_else(|reason| format!("not understood: {reason}"), |c| show(&c));
        writeln!(out, "{}\n    {shown}", command.replace('\n', "\\n")).unwrap();
    }
    expect.assert_eq(&out);
}

#[track_caller]
fn check_plugins(commands: &[&str], expect: Expect) {
    let mut out = String::new();
    for command in commands {
        let shown = match Plugin::parse(command.as_bytes(), "mail.example", "110") {
            Ok(Plugin::Tcp(target)) => host_port(&target),
            Ok(Plugin::Ssh { command, target }) => {
                format!("{} -> {}", show(&command), host_port(&target))
            }
            Err(reason) => format!("not understood: {reason}"),
        };
        writeln!(out, "{command}\n    {shown}").unwrap();
    }
    expect.assert_eq(&out);
}

#[test]
fn tunnels_of_howtos_are_understood() {
    check_preconnects(
        &[
            // Secure POP via SSH mini-HOWTO, §2.1, §2.2 and §3.1
            "ssh -C -f popserver -L 11110:popserver:110 sleep 5",
            "ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 1000",
            "ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 5",
            "ssh -f -L 1234:localhost:110 me@gate sleep 20 </dev/null >/dev/null",
            "ssh -q -C -f -L 2110:pop.example.org:110 -l me gate.example.org 'sleep 20' > /dev/null 2>&1",
            "exec /usr/bin/ssh -fN -L1110:localhost:pop3 -i ~/.ssh/id_mail -p2222 gate",
            "ssh -x -a -T -n -f -o BatchMode=yes -o 'ConnectTimeout 10' -L 9110:127.0.0.1:110 gate /bin/sleep 15",
        ],
        expect![[r#"
            ssh -C -f popserver -L 11110:popserver:110 sleep 5
                popserver Compression=yes | 11110 to popserver:110
            ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 1000
                msingh@popserver Compression=yes | 11110 to popserver:110
            ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 5
                msingh@popserver Compression=yes | 11110 to popserver:110
            ssh -f -L 1234:localhost:110 me@gate sleep 20 </dev/null >/dev/null
                me@gate | 1234 to localhost:110
            ssh -q -C -f -L 2110:pop.example.org:110 -l me gate.example.org 'sleep 20' > /dev/null 2>&1
                me@gate.example.org Compression=yes | 2110 to pop.example.org:110
            exec /usr/bin/ssh -fN -L1110:localhost:pop3 -i ~/.ssh/id_mail -p2222 gate
                gate port 2222 IdentityFile=/home/me/.ssh/id_mail | 1110 to localhost:110
            ssh -x -a -T -n -f -o BatchMode=yes -o 'ConnectTimeout 10' -L 9110:127.0.0.1:110 gate /bin/sleep 15
                gate BatchMode=yes ConnectTimeout=10 | 9110 to 127.0.0.1:110
        "#]],
    );
}

#[test]
fn options_are_read_as_ssh_reads_them() {
    check_preconnects(
        &[
            "ssh -46CKfNL 1:a:2 h",
            "ssh -NL 1:a:2 -b 10.0.0.1 -B eth0 -c aes128-ctr -m hmac-sha2-256 -I /lib/p11.so -S /run/ctl -J a,b h",
            "ssh -NL 1:a:2 -F ~/ssh.conf -E /tmp/log -e none h",
            "ssh -NL 1:a:2 -l one -l two three@h",
            "ssh -NL 1:a:2 -o User=one -o user=two three@h",
            "ssh -NL 1:a:2 three@h -o User=one",
            "ssh -NL 1:a:2 -p 22 -p 23 -o Port=24 h",
            "ssh -NL 1:a:2 ssh://u%40x@h:2222",
            "ssh -NL 1:a:2 -p 23 ssh://u@[::1]:2222/",
            "ssh -NL 1:a:2 u@x@h",
            "ssh -NL 1:a:2 ::1",
            "ssh -NL 1:a:2 -- h",
            "ssh -NL 1:a:2 h -- sleep 5",
            "ssh -L 1:a:2 -- h sleep -x 5",
            "ssh h -NL 1:a:2 -C",
            "ssh h -L 1:a:2 sleep -C 5",
            "ssh -N -oLocalForward='1 a:2' -o 'LocalForward=[::1]:3 [::2]:4' h",
            "ssh -NL 1:a:2 -o'IdentityFile \"~/my key\"' -oProxyCommand='nc %h %p' -oCompression = h",
            "ssh -NL 1:a:2 -o'ServerAliveInterval = 30' h",
            "ssh -o SessionType=none -L 1:a:2 h",
        ],
        expect![[r#"
            ssh -46CKfNL 1:a:2 h
                h GSSAPIAuthentication=yes Compression=yes AddressFamily=inet6 AddressFamily=inet | 1 to a:2
            ssh -NL 1:a:2 -b 10.0.0.1 -B eth0 -c aes128-ctr -m hmac-sha2-256 -I /lib/p11.so -S /run/ctl -J a,b h
                h ControlPath=/run/ctl PKCS11Provider=/lib/p11.so MACs=hmac-sha2-256 Ciphers=aes128-ctr BindInterface=eth0 BindAddress=10.0.0.1 ProxyJump=a,b | 1 to a:2
            ssh -NL 1:a:2 -F ~/ssh.conf -E /tmp/log -e none h
                h -F /home/me/ssh.conf | 1 to a:2
            ssh -NL 1:a:2 -l one -l two three@h
                one@h | 1 to a:2
            ssh -NL 1:a:2 -o User=one -o user=two three@h
                one@h | 1 to a:2
            ssh -NL 1:a:2 three@h -o User=one
                three@h | 1 to a:2
            ssh -NL 1:a:2 -p 22 -p 23 -o Port=24 h
                h port 22 | 1 to a:2
            ssh -NL 1:a:2 ssh://u%40x@h:2222
                u@x@h port 2222 | 1 to a:2
            ssh -NL 1:a:2 -p 23 ssh://u@[::1]:2222/
                u@::1 port 23 | 1 to a:2
            ssh -NL 1:a:2 u@x@h
                u@x@h | 1 to a:2
            ssh -NL 1:a:2 ::1
                ::1 | 1 to a:2
            ssh -NL 1:a:2 -- h
                h | 1 to a:2
            ssh -NL 1:a:2 h -- sleep 5
                h | 1 to a:2
            ssh -L 1:a:2 -- h sleep -x 5
                h | 1 to a:2
            ssh h -NL 1:a:2 -C
                h Compression=yes | 1 to a:2
            ssh h -L 1:a:2 sleep -C 5
                h | 1 to a:2
            ssh -N -oLocalForward='1 a:2' -o 'LocalForward=[::1]:3 [::2]:4' h
                h | 1 to a:2 | [::1]:3 to ::2:4
            ssh -NL 1:a:2 -o'IdentityFile "~/my key"' -oProxyCommand='nc %h %p' -oCompression = h
                not understood: `-o Compression` sets nothing
            ssh -NL 1:a:2 -o'ServerAliveInterval = 30' h
                h ServerAliveInterval=30 | 1 to a:2
            ssh -o SessionType=none -L 1:a:2 h
                h | 1 to a:2
        "#]],
    );
}

#[test]
fn forwards_are_read_as_ssh_reads_them() {
    check_preconnects(
        &[
            "ssh -NL localhost:1:a:2 h",
            "ssh -NL *:1:a:2 h",
            "ssh -NL :1:a:2 h",
            "ssh -NL '[::1]:1:[2001:db8::1]:pop3s' h",
            "ssh -NL 1:[::1]:2 h",
            "ssh -NL 1:a:2 -L 3:b:4 h",
            "ssh -NL 1:a h",
            "ssh -NL 1:a:b h",
            "ssh -NL 0:a:2 h",
            "ssh -NL 65536:a:2 h",
            "ssh -NL 1::2 h",
            "ssh -NL 1:a:2:3:4 h",
            "ssh -NL 1:[a:2 h",
            "ssh -NL 1:/run/pop.sock h",
            "ssh -NL /run/pop.sock:a:2 h",
            "ssh -NL '' h",
        ],
        expect![[r#"
            ssh -NL localhost:1:a:2 h
                h | [localhost]:1 to a:2
            ssh -NL *:1:a:2 h
                h | [*]:1 to a:2
            ssh -NL :1:a:2 h
                h | []:1 to a:2
            ssh -NL '[::1]:1:[2001:db8::1]:pop3s' h
                h | [::1]:1 to 2001:db8::1:995
            ssh -NL 1:[::1]:2 h
                h | 1 to ::1:2
            ssh -NL 1:a:2 -L 3:b:4 h
                h | 1 to a:2 | 3 to b:4
            ssh -NL 1:a h
                not understood: `-L 1:a` forwards no port to a port
            ssh -NL 1:a:b h
                not understood: `-L 1:a:b` forwards no port to a port
            ssh -NL 0:a:2 h
                not understood: `-L 0:a:2` forwards no port to a port
            ssh -NL 65536:a:2 h
                not understood: `-L 65536:a:2` forwards no port to a port
            ssh -NL 1::2 h
                not understood: `-L 1::2` forwards no port to a port
            ssh -NL 1:a:2:3:4 h
                not understood: `-L 1:a:2:3:4` forwards no port to a port
            ssh -NL 1:[a:2 h
                not understood: `-L 1:[a:2` forwards no port to a port
            ssh -NL 1:/run/pop.sock h
                not understood: `-L 1:/run/pop.sock` uses a socket in the file system
            ssh -NL /run/pop.sock:a:2 h
                not understood: `-L /run/pop.sock:a:2` uses a socket in the file system
            ssh -NL '' h
                not understood: `-L ` forwards no port to a port
        "#]],
    );
}

#[test]
fn words_are_split_as_a_shell_splits_them() {
    check_preconnects(
        &[
            "  ssh\t-N  -L 1:a:2 'h'  ",
            "ssh -NL 1:a:2 \\\n  h",
            "s'sh' -\"N\"L 1:'a':\\2 h",
            "ssh -NL 1:a:2 -i \"$HOME/my key\" -l $USER h",
            "ssh -NL 1:a:2 -i ${HOME}/k h # comment",
            "ssh -NL 1:a:2 -i '$HOME/k' -i \"\\$HOME\" -i \\~/k -i a~ h",
            "ssh -NL 1:a:2 -i $WORDS h",
            "ssh -NL 1:a:2 -i \"$WORDS\" h",
            "ssh -NL 1:a:2 -i $EMPTY h",
            "ssh -NL 1:a:2 -i $UNKNOWN h",
            "ssh -NL 1:a:2 -i $1 h",
            "ssh -NL 1:a:2 -i ~joe/k h",
            "ssh -NL 1:a:2 -i '' h",
            "ssh -NL 1:a:2 -i 'h",
            "ssh -NL 1:a:2 -i \"h",
            "ssh -NL 1:a:2 h 2>/dev/null >>/dev/null",
            "ssh -NL 1:a:2 h >/tmp/log",
            "ssh -NL 1:a:2 h < key",
        ],
        expect![[r#"
              ssh	-N  -L 1:a:2 'h'  
                h | 1 to a:2
            ssh -NL 1:a:2 \\n  h
                h | 1 to a:2
            s'sh' -"N"L 1:'a':\2 h
                h | 1 to a:2
            ssh -NL 1:a:2 -i "$HOME/my key" -l $USER h
                me@h IdentityFile=/home/me/my key | 1 to a:2
            ssh -NL 1:a:2 -i ${HOME}/k h # comment
                h IdentityFile=/home/me/k | 1 to a:2
            ssh -NL 1:a:2 -i '$HOME/k' -i "\$HOME" -i \~/k -i a~ h
                h IdentityFile=$HOME/k IdentityFile=$HOME IdentityFile=~/k IdentityFile=a~ | 1 to a:2
            ssh -NL 1:a:2 -i $WORDS h
                not understood: `$WORDS` is not one word
            ssh -NL 1:a:2 -i "$WORDS" h
                h IdentityFile=two words | 1 to a:2
            ssh -NL 1:a:2 -i $EMPTY h
                not understood: `$EMPTY` is not one word
            ssh -NL 1:a:2 -i $UNKNOWN h
                not understood: `$UNKNOWN` is not known
            ssh -NL 1:a:2 -i $1 h
                not understood: the shell has to act on `$`
            ssh -NL 1:a:2 -i ~joe/k h
                not understood: the shell has to look up another user's home
            ssh -NL 1:a:2 -i '' h
                h IdentityFile= | 1 to a:2
            ssh -NL 1:a:2 -i 'h
                not understood: a quote is not closed
            ssh -NL 1:a:2 -i "h
                not understood: a quote is not closed
            ssh -NL 1:a:2 h 2>/dev/null >>/dev/null
                h | 1 to a:2
            ssh -NL 1:a:2 h >/tmp/log
                not understood: the shell has to redirect its input or output
            ssh -NL 1:a:2 h < key
                not understood: the shell has to redirect its input or output
        "#]],
    );
}

#[test]
fn only_blanks_of_a_shell_are_none_of_a_word() {
    for (command, host) in [
        ("\n ssh -NL 1:a:2 h \n \n", "h"),
        ("ssh -NL 1:a:2 h\\ ", "h "),
        ("ssh -NL 1:a:2 h\r", "h\r"),
        ("ssh -NL 1:a:2 h\u{a0}", "h\u{a0}"),
    ] {
        let command = SshCommand::of_preconnect(command.as_bytes(), &variables);
        assert_eq!(command.map(|command| command.host).as_deref(), Ok(host));
    }
}

#[test]
fn what_does_more_is_not_understood() {
    check_preconnects(
        &[
            "",
            " # only a comment",
            "pppd call isp",
            "/usr/local/bin/tunnel up",
            "ssh-agent sleep 5",
            "nohup ssh -NL 1:a:2 h",
            "SSH_AUTH_SOCK=/x ssh -NL 1:a:2 h",
            "ssh -fNL 1:a:2 h; sleep 3",
            "ssh -fNL 1:a:2 h && true",
            "ssh -NL 1:a:2 h &",
            "ssh -fNL 1:a:2 h || true",
            "ssh -NL 1:a:2 h | cat",
            "ssh -fNL 1:a:2 h\nsleep 3",
            "ssh -fNL 1:a:2 $(cat host)",
            "ssh -fNL 1:a:2 `cat host`",
            "ssh -fNL 1:a:2 \"`cat host`\"",
            "(ssh -fNL 1:a:2 h)",
            "{ ssh -fNL 1:a:2 h",
            "! ssh -fNL 1:a:2 h",
            "ssh",
            "ssh -N h",
            "ssh -L 1:a:2 h",
            "ssh -L 1:a:2",
            "ssh -L",
            "ssh -L 1:a:2 h ./wake-mail-server",
            "ssh -L 1:a:2 h 'sleep 5; rm x'",
            "ssh -L 1:a:2 h 'sleep $N'",
            "ssh -L 1:a:2 -D 1080 h sleep 5",
            "ssh -L 1:a:2 -R 2:b:3 h sleep 5",
            "ssh -L 1:a:2 -s h sftp",
            "ssh -O exit h",
            "ssh -V",
            "ssh -W a:1 h",
            "ssh -Z h",
            "ssh -é h",
            "ssh -NL 1:a:2 -p many h",
            "ssh -NL 1:a:2 -o ProxyJump=a -J b h",
            "ssh -NL 1:a:2 -o RemoteCommand=x h",
            "ssh -NL 1:a:2 -o '' h",
            "ssh -NL 1:a:2 user@",
            "ssh -NL 1:a:2 @h",
            "ssh -NL 1:a:2 ssh://h/path",
            "ssh -NL 1:a:2 ssh://u%zz@h",
        ],
        expect![[r#"

                not understood: it is empty
             # only a comment
                not understood: it is empty
            pppd call isp
                not understood: it runs `pppd` and not ssh
            /usr/local/bin/tunnel up
                not understood: it runs `tunnel` and not ssh
            ssh-agent sleep 5
                not understood: it runs `ssh-agent` and not ssh
            nohup ssh -NL 1:a:2 h
                not understood: it runs `nohup` and not ssh
            SSH_AUTH_SOCK=/x ssh -NL 1:a:2 h
                not understood: it sets a variable for the command
            ssh -fNL 1:a:2 h; sleep 3
                not understood: `;` makes it more than one command
            ssh -fNL 1:a:2 h && true
                not understood: `&` makes it more than one command
            ssh -NL 1:a:2 h &
                not understood: `&` makes it more than one command
            ssh -fNL 1:a:2 h || true
                not understood: `|` makes it more than one command
            ssh -NL 1:a:2 h | cat
                not understood: `|` makes it more than one command
            ssh -fNL 1:a:2 h\nsleep 3
                not understood: `\n` makes it more than one command
            ssh -fNL 1:a:2 $(cat host)
                not understood: the shell has to act on `$`
            ssh -fNL 1:a:2 `cat host`
                not understood: the shell has to act on a backquote
            ssh -fNL 1:a:2 "`cat host`"
                not understood: the shell has to act on a backquote
            (ssh -fNL 1:a:2 h)
                not understood: the shell has to act on `(`
            { ssh -fNL 1:a:2 h
                not understood: the shell has to act on `{`
            ! ssh -fNL 1:a:2 h
                not understood: the shell has to act on `!`
            ssh
                not understood: it names no host
            ssh -N h
                not understood: it forwards no port
            ssh -L 1:a:2 h
                not understood: it starts a shell on the host
            ssh -L 1:a:2
                not understood: it names no host
            ssh -L
                not understood: `-L` is without its argument
            ssh -L 1:a:2 h ./wake-mail-server
                not understood: it runs `wake-mail-server` on the host
            ssh -L 1:a:2 h 'sleep 5; rm x'
                not understood: on the host, `;` makes it more than one command
            ssh -L 1:a:2 h 'sleep $N'
                not understood: on the host, `$N` is not known
            ssh -L 1:a:2 -D 1080 h sleep 5
                not understood: `-D` asks for another kind of forward
            ssh -L 1:a:2 -R 2:b:3 h sleep 5
                not understood: `-R` asks for another kind of forward
            ssh -L 1:a:2 -s h sftp
                not understood: `-s` asks for a subsystem
            ssh -O exit h
                not understood: `-O` makes no connection
            ssh -V
                not understood: `-V` makes no connection
            ssh -W a:1 h
                not understood: `-W` uses standard input and output, which a preconnect does not have
            ssh -Z h
                not understood: ssh has no option `-Z`
            ssh -é h
                not understood: ssh has no option `-é`
            ssh -NL 1:a:2 -p many h
                not understood: `many` is no port
            ssh -NL 1:a:2 -o ProxyJump=a -J b h
                not understood: it has two lists of hosts to jump through
            ssh -NL 1:a:2 -o RemoteCommand=x h
                not understood: `-o RemoteCommand` asks for more than a connection
            ssh -NL 1:a:2 -o '' h
                not understood: `-o ` sets nothing
            ssh -NL 1:a:2 user@
                not understood: `user@` names no host
            ssh -NL 1:a:2 @h
                not understood: `@h` names no host
            ssh -NL 1:a:2 ssh://h/path
                not understood: `ssh://h/path` names no host
            ssh -NL 1:a:2 ssh://u%zz@h
                not understood: the user in its ssh:// address is encoded wrongly
        "#]],
    );
    let not_text = SshCommand::of_preconnect(b"ssh \xff", &variables);
    assert_eq!(not_text, Err(NotUnderstood::from("it is not UTF-8")));
}

#[test]
fn plugins_are_understood() {
    check_plugins(
        &[
            "ssh %h nc %h %p",
            "ssh gate nc %h %p",
            "ssh -q -i /home/me/.ssh/id me@gate exec nc -w 10 -q0 localhost %p 2>/dev/null",
            "ssh -W localhost:%p me@%h",
            "ssh -W %h:%p gate",
            "/usr/bin/ssh -T gate socat - TCP:%h:%p",
            "ssh gate socat TCP4-CONNECT:localhost:pop3 STDIO",
            "socat - TCP:%h:%p",
            "socat STDIO tcp6:[::1]:995",
            "nc %h %p",
            "nc -N -4v %h %p",
        ],
        expect![[r#"
            ssh %h nc %h %p
                mail.example -> mail.example:110
            ssh gate nc %h %p
                gate -> mail.example:110
            ssh -q -i /home/me/.ssh/id me@gate exec nc -w 10 -q0 localhost %p 2>/dev/null
                me@gate IdentityFile=/home/me/.ssh/id -> localhost:110
            ssh -W localhost:%p me@%h
                me@mail.example -> localhost:110
            ssh -W %h:%p gate
                gate -> mail.example:110
            /usr/bin/ssh -T gate socat - TCP:%h:%p
                gate -> mail.example:110
            ssh gate socat TCP4-CONNECT:localhost:pop3 STDIO
                gate -> localhost:110
            socat - TCP:%h:%p
                mail.example:110
            socat STDIO tcp6:[::1]:995
                ::1:995
            nc %h %p
                mail.example:110
            nc -N -4v %h %p
                mail.example:110
        "#]],
    );
}

#[test]
fn plugins_that_do_more_are_not_understood() {
    check_plugins(
        &[
            "",
            "ssh %h /usr/sbin/imapd",
            "ssh %h",
            "ssh -W %h:%p gate cat",
            "ssh -W %h gate",
            "ssh -L 1:a:2 gate nc %h %p",
            "ssh gate 'nc %h %p'",
            "ssh gate nc %h %p | tee log",
            "ssh gate nc -l %p",
            "ssh gate nc -x proxy:8080 %h %p",
            "ssh gate nc - %h %p",
            "ssh gate nc %h",
            "ssh gate nc %h 110-120",
            "ssh gate telnet %h %p",
            "socat - EXEC:imapd",
            "socat - OPENSSL:%h:%p",
            "socat - TCP:%h:%p,crnl",
            "socat -d - TCP:%h:%p",
            "socat TCP:%h:%p TCP:%h:%p",
            "stunnel %h:%p",
        ],
        expect![[r#"

                not understood: it is empty
            ssh %h /usr/sbin/imapd
                not understood: on the host: it runs `imapd`
            ssh %h
                not understood: it does not say where the host shall connect
            ssh -W %h:%p gate cat
                not understood: it does not say where the host shall connect
            ssh -W %h gate
                not understood: `-W mail.example` names no host and port
            ssh -L 1:a:2 gate nc %h %p
                not understood: besides, it forwards port 1
            ssh gate 'nc %h %p'
                not understood: on the host: it runs `nc mail.example 110`
            ssh gate nc %h %p | tee log
                not understood: on the host, `|` makes it more than one command
            ssh gate nc -l %p
                not understood: on the host: `-l` makes nc do more than connect
            ssh gate nc -x proxy:8080 %h %p
                not understood: on the host: `-x` makes nc do more than connect
            ssh gate nc - %h %p
                not understood: on the host: `-` makes nc do more than connect
            ssh gate nc %h
                not understood: on the host: nc is not given one host and one port
            ssh gate nc %h 110-120
                not understood: on the host: it connects to no single port
            ssh gate telnet %h %p
                not understood: on the host: it runs `telnet`
            socat - EXEC:imapd
                not understood: socat connects to `EXEC`
            socat - OPENSSL:%h:%p
                not understood: socat connects to `OPENSSL`
            socat - TCP:%h:%p,crnl
                not understood: socat has options for the connection
            socat -d - TCP:%h:%p
                not understood: socat has options
            socat TCP:%h:%p TCP:%h:%p
                not understood: socat does not use standard input and output
            stunnel %h:%p
                not understood: it runs `stunnel`
        "#]],
    );
}

#[test]
fn host_and_port_stand_for_each_percent_sign() {
    for (word, expected) in [
        ("%h", "H"),
        ("%h:%p", "H:P"),
        ("%%h", "%H"),
        ("%q%", "%q%"),
        ("100%", "100%"),
        ("%hp%p", "HpP"),
    ] {
        assert_eq!(substitute(word, "H", "P"), expected, "{word}");
    }
    // What is put in is not looked at again.
    assert_eq!(substitute("%h", "%p", "P"), "%p");
}

#[test]
fn a_poll_finds_its_forward() {
    let command =
        "ssh -N -L 1110:a:110 -L 127.0.0.1:1111:b:110 -L '*:1112:c:110' -L 10.0.0.1:1113:d:110 h";
    let command = SshCommand::of_preconnect(command.as_bytes(), &variables).unwrap();
    for (host, port, target) in [
        ("localhost", 1110, Some("a")),
        ("LocalHost.", 1110, Some("a")),
        ("127.0.0.1", 1110, Some("a")),
        ("127.1.2.3", 1110, Some("a")),
        ("::1", 1110, Some("a")),
        ("localhost", 1111, Some("b")),
        ("127.0.0.1", 1112, Some("c")),
        ("10.0.0.1", 1113, Some("d")),
        ("localhost", 1113, None),
        ("10.0.0.1", 1110, None),
        ("localhost", 110, None),
        ("popserver", 1110, None),
    ] {
        let forward = command.forward_for(host, port);
        let found = forward.map(|forward| forward.to.host.as_str());
        assert_eq!(found, target, "{host}:{port}");
    }
}

/// The first entry of an rc file.
fn entry(text: &str) -> Entry {
    let (rcfile, diagnostics) = super::super::parse(text.as_bytes());
    assert_eq!(diagnostics, []);
    let request = super::super::fuzz::request();
    rcfile.resolve(&request).0.entries.remove(0)
}

#[test]
fn the_entry_of_the_howto_becomes_a_tunnel() {
    for (text, expected) in [
        (
            // Secure POP via SSH mini-HOWTO, §3.1
            "defaults\nuser msingh is manish\nno rewrite\npoll localhost with protocol pop3 and \
             port 11110:\npreconnect \"ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 5\"\n\
             password foobar;\n",
            Ok("msingh@popserver Compression=yes | 11110 to popserver:110 -> popserver:110"),
        ),
        (
            "poll mail via 127.0.0.1 proto pop3 service \"pop3\" user u preconnect 'ssh -fNL 110:a:995 h'\n",
            Ok("h | 110 to a:995 -> a:995"),
        ),
        (
            "poll localhost proto pop3 port 1111 user u preconnect 'ssh -fNL 1110:a:110 h'\n",
            Err("it forwards no `localhost` port 1111"),
        ),
        (
            "poll popserver proto pop3 port 1110 user u preconnect 'ssh -fNL 1110:a:110 h'\n",
            Err("it forwards no `popserver` port 1110"),
        ),
        (
            "poll localhost proto pop3 port 1110 user u preconnect 'ssh -fNL 1110:a:110 -L 2525:a:25 h'\n",
            Err("it forwards other ports as well"),
        ),
    ] {
        let entry = entry(text);
        let preconnect = entry.users[0].preconnect.as_ref().unwrap();
        let tunnel = Tunnel::of(&entry, preconnect, &variables);
        let shown = tunnel
            .map(|tunnel| format!("{} -> {}", show(&tunnel.command), host_port(&tunnel.target)))
            .map_err(|reason| reason.to_string());
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{text}");
    }
}

#[test]
fn the_plugin_of_an_entry_gets_its_host_and_port() {
    for (text, expected) in [
        (
            "poll h proto pop3 plugin 'ssh %h nc %h %p'\n",
            Some("h -> h:110"),
        ),
        (
            "poll h via a proto imap plugin 'ssh -W %h:%p gate'\n",
            Some("gate -> a:143"),
        ),
        (
            "poll h proto pop3 service 'pop3s' plugin 'ssh -W %h:%p gate'\n",
            Some("gate -> h:995"),
        ),
        ("poll h proto imap plugin 'ssh %h imapd'\n", None),
    ] {
        let entry = entry(text);
        let plugin = Plugin::of(&entry, entry.plugin.as_ref().unwrap());
        let shown = plugin.ok().map(|plugin| match plugin {
            Plugin::Ssh { command, target } => {
                format!("{} -> {}", show(&command), host_port(&target))
            }
            Plugin::Tcp(target) => host_port(&target),
        });
        assert_eq!(shown.as_deref(), expected, "{text}");
    }
}
