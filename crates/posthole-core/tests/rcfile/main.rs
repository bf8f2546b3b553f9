//! Our reading of rc files against that of fetchmail itself.
//!
//! `POSTHOLE_RCFILE_CASES=20000` compares that many generated files instead of a few hundred, and
//! `POSTHOLE_RCFILE_SEED` begins with another one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generate;
mod oracle;
mod python;
mod ssh;

use std::process::ExitCode;

use posthole_core::fetchmailrc::{Auth, Flags, Protocol};
use posthole_testkit::real::{Requirement, Suite};

use generate::Generator;
use oracle::{Oracle, Outcome};

fn main() -> ExitCode {
    let needs = &[Requirement::Fetchmail];
    Suite::new()
        .test("examples_mean_the_same", needs, examples_mean_the_same)
        .test("quirks_are_the_same", needs, quirks_are_the_same)
        .test(
            "mistakes_are_on_the_same_line",
            needs,
            mistakes_are_on_the_same_line,
        )
        .test(
            "generated_files_mean_the_same",
            needs,
            generated_files_mean_the_same,
        )
        .test(
            "flags_cover_the_file_alike",
            needs,
            flags_cover_the_file_alike,
        )
        .test(
            "named_servers_are_polled_alike",
            needs,
            named_servers_are_polled_alike,
        )
        .test(
            "commands_mean_the_same_to_ssh",
            &[Requirement::Ssh],
            ssh::commands_mean_the_same_to_ssh,
        )
        .run()
}

/// Compares all of them, and shows every disagreement.
#[track_caller]
fn all_agree<'a>(texts: impl IntoIterator<Item = &'a str>) {
    let oracle = Oracle::new();
    let disagreements: Vec<_> = texts
        .into_iter()
        .filter_map(|text| {
            let disagreement = oracle.disagreement(text.as_bytes())?;
            Some(format!("{text}\n{disagreement}"))
        })
        .collect();
    assert!(disagreements.is_empty(), "\n{}", disagreements.join("\n\n"));
}

fn examples_mean_the_same() {
    all_agree(EXAMPLES.iter().copied());
    // Debian's package has one more.
    if let Ok(example) =
        std::fs::read_to_string("/usr/share/doc/fetchmail/examples/fetchmailrc.example")
    {
        all_agree([example.as_str()]);
    }
}

fn quirks_are_the_same() {
    let oracle = Oracle::new();
    let refused = QUIRKS
        .iter()
        .find(|text| matches!(oracle.fetchmail(text.as_bytes()), Outcome::Refused { .. }));
    assert_eq!(refused, None, "each of these is understood");
    all_agree(QUIRKS.iter().copied());
}

fn mistakes_are_on_the_same_line() {
    let oracle = Oracle::new();
    let accepted = MISTAKES
        .iter()
        .find(|text| matches!(oracle.fetchmail(text.as_bytes()), Outcome::Configuration(_)));
    assert_eq!(accepted, None, "each of these is refused");
    all_agree(MISTAKES.iter().copied());
}

fn generated_files_mean_the_same() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let cases = number("POSTHOLE_RCFILE_CASES").unwrap_or(400);
    let first = number("POSTHOLE_RCFILE_SEED").unwrap_or(1);
    let oracle = Oracle::new();
    let mut understood = 0;
    for seed in first..first + cases {
        let pieces = Generator::new(seed).file();
        let text = pieces.concat();
        if oracle.disagreement(text.as_bytes()).is_some() {
            let text = smallest(&oracle, pieces);
            let disagreement = oracle.disagreement(text.as_bytes()).unwrap_or_default();
            panic!(
                "seed {seed}:\n{text}\n{}\n{disagreement}",
                text.escape_debug()
            );
        }
        understood += u64::from(oracle.posthole(text.as_bytes()).0.is_some());
    }
    // Files that are all refused would agree in nothing that matters.
    assert!(
        understood * 5 > cases * 2,
        "only {understood} of {cases} are right"
    );
}

/// The least of a file that fetchmail and we still disagree on.
fn smallest(oracle: &Oracle, mut pieces: Vec<String>) -> String {
    let disagree = |pieces: &[String]| oracle.disagreement(pieces.concat().as_bytes()).is_some();
    let mut size = pieces.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < pieces.len() {
            let mut fewer = pieces.clone();
            fewer.drain(at..(at + size).min(pieces.len()));
            if disagree(&fewer) {
                pieces = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    pieces.concat()
}

fn flags_cover_the_file_alike() {
    let text = "set daemon 300 set postmaster pm set no bouncemail set idfile i\n\
                defaults timeout 7 user d keep folder D smtphost dh antispam 1\n\
                poll a proto imap auth ntlm port 993 user u is l pass p folder F limit 5 ssl\n\
                poll b user v nokeep fetchall sslkey k mda x bsmtp y\n\
                poll c\n";
    let oracle = Oracle::new();
    type Change = fn(&mut Flags);
    let cases: &[(&[&str], Change)] = &[
        (&["-k"], |flags| flags.user.keep = Some(true)),
        (&["-K"], |flags| flags.user.keep = Some(false)),
        (&["-a", "-F", "-n"], |flags| {
            flags.user.fetchall = Some(true);
            flags.user.flush = Some(true);
            flags.user.rewrite = Some(false);
        }),
        (
            &["-l", "0", "-w", "9", "-b", "3", "-B", "4", "-e", "2"],
            |flags| {
                flags.user.limit = Some(0);
                flags.user.warnings = Some(9);
                flags.user.batchlimit = Some(3);
                flags.user.fetchlimit = Some(4);
                flags.user.expunge = Some(2);
            },
        ),
        (
            &["-p", "pop3", "--auth", "cram-md5", "-P", "110", "-t", "5"],
            |flags| {
                flags.server.protocol = Some(Protocol::Pop3);
                flags.server.auth = Some(Auth::CramMd5);
                flags.server.service = Some("110".into());
                flags.server.timeout = Some(5);
            },
        ),
        // Lists are added to those of the file.
        (&["-r", "X", "-S", "s1,s2", "-Z", "571,572"], |flags| {
            flags.user.folders = vec!["X".into()];
            flags.user.smtphost = vec!["s1".into(), "s2".into()];
            flags.user.antispam = vec![571, 572];
        }),
        (
            &[
                "-u",
                "w",
                "-m",
                "cat",
                "--sslcert",
                "/c",
                "-E",
                "X-To",
                "-Q",
                "q",
            ],
            |flags| {
                flags.user.remotename = Some("w".into());
                flags.user.mda = Some("cat".into());
                flags.user.sslcert = Some("/c".into());
                flags.server.envelope =
                    Some(posthole_core::fetchmailrc::Envelope::Header("X-To".into()));
                flags.server.qvirtual = Some("q".into());
            },
        ),
        (
            &[
                "-d",
                "0",
                "--postmaster",
                "other",
                "--invisible",
                "-i",
                "/ids",
            ],
            |flags| {
                flags.globals.daemon = Some(0);
                flags.globals.postmaster = Some("other".into());
                flags.globals.invisible = Some(true);
                flags.globals.idfile = Some("/ids".into());
            },
        ),
    ];
    for (arguments, change) in cases {
        let mut request = oracle.request();
        change(&mut request.flags);
        let fetchmail = oracle.fetchmail_with(text.as_bytes(), arguments);
        let (ours, diagnostics) = oracle.posthole_with(text.as_bytes(), &request);
        let disagreement = oracle.compare(text.as_bytes(), fetchmail, ours, &diagnostics);
        assert_eq!(disagreement, None, "{arguments:?}");
    }
}

fn named_servers_are_polled_alike() {
    let text = "defaults proto pop3 user d\npoll a aka mail user u\nskip b user v lmtp smtp x/24\n";
    let oracle = Oracle::new();
    for names in [
        &["b"][..],
        &["mail"],
        &["elsewhere"],
        &["a", "elsewhere", "b"],
    ] {
        let mut request = oracle.request();
        request.names = names.iter().map(|name| (*name).into()).collect();
        let fetchmail = oracle.fetchmail_with(text.as_bytes(), names);
        let (ours, diagnostics) = oracle.posthole_with(text.as_bytes(), &request);
        let disagreement = oracle.compare(text.as_bytes(), fetchmail, ours, &diagnostics);
        assert_eq!(disagreement, None, "{names:?}");
    }
}

/// From the HOWTO, and in the style of the manual and the FAQ.
const EXAMPLES: &[&str] = &[
    "",
    "# nothing\n",
    // Secure POP via SSH mini-HOWTO, §3.1
    "defaults\nuser msingh is manish\nno rewrite\npoll localhost with protocol pop3 and port 11110:\n\
     preconnect \"ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 5\"\npassword foobar;\n",
    "poll pop.example.net protocol pop3 username \"smith\" password \"secret1\"\n",
    "poll pop.example.net proto pop3 user \"smith\" pass \"secret1\"\n\
     poll other.example.net proto pop2 user \"John.Smith\" pass \"My^Hat\"\n",
    "poll pop.example.net proto pop3\n    user \"smith\", with password secret1, is \"smith\" here;\n\
     poll other.example.net proto pop3:\n    user \"John.Smith\", with password \"My^Hat\", is \"John.Smith\" here;\n",
    "poll mail.example.net with proto pop3:\n    user \"smith\" there has password \"4u but u can't crack this\"\n    \
     is jws here and wants mda \"/bin/mail\"\n",
    "defaults proto pop3\n    user \"smith\"\npoll pop.example.net\n    pass \"secret1\"\npoll mail.example.net\n    \
     user \"jjsmith\" there has password \"secret2\"\n",
    "poll pop.example.net proto pop3 port 3111\n    user \"smith\" with pass \"secret1\" is \"smith\" here\n    \
     user jones with pass \"secret2\" is \"jjones\" here keep\n",
    "poll pop.example.net:\n    user maildrop with pass secret1 to golux 'hurkle'='happy' snark here\n",
    "poll pop.example.net localdomains toons.example toons.example.org\n    envelope X-Envelope-To\n    \
     user maildrop with pass secret1 to * here\n",
    "poll mailhost.example with proto imap:\n    plugin \"ssh %h /usr/sbin/imapd\" auth ssh;\n    user esr is esr here\n",
    // Several local mailboxes, one each for a few accounts of one server
    "set postmaster \"admin\"\nset daemon 600\nset logfile log\n\
     poll pop.isp.example protocol pop3 auth password timeout 60 uidl\n  \
     user 'a-1' there with password 'x' is 'ann' here options keep ssl sslcertck sslcertpath '/etc/ssl/certs'\n  \
     user 'b-2' there with password 'y' is 'bob' here options fetchall nokeep ssl\n",
    "poll imap.gmail.example protocol IMAP user \"me@gmail.example\" password 'x y z' folder 'INBOX','[Gmail]/Spam' \
     ssl sslproto 'TLS1.2+' mda \"/usr/bin/procmail -d %T\" keep\n",
    "poll pop.example.org via 127.0.0.1 port 1110 proto pop3 plugin 'ssh -W localhost:110 %h' user joe here is joseph there\n",
    "skip old.example.org proto apop user joe pass secret smtphost mail/2525 smtpaddress example.org\n",
    "poll mail.example.org proto etrn fetchdomains example.org, example.net smtphost localhost\n",
    "poll odmr.example.org proto odmr auth cram-md5 user example.org pass x fetchdomains example.org antispam 571 550 501\n",
    "defaults:\n  timeout 300\n  antispam -1\n  batchlimit 100\n\npoll host.example\n  protocol POP3\n  no dns\n  \
     qvirtual \"example-\"\n  envelope 1 \"Delivered-To\"\n  user x password y is * here\n  smtphost /run/lmtp lmtp\n",
    "poll h interface \"ppp0/10.0.0.5/255.255.0.0\" monitor ppp0 interval 3 proto imap user u pass p idle folder INBOX\n",
    "poll pop3.example.com proto pop3 uidl no dns\n  user foobar@example.com password xyzzy is foobar\n  \
     ssl sslfingerprint \"67:3E:02:94:D3:5B:C3:16:86:71:37:01:B1:3B:BC:E2\"\n",
    "poll localhost protocol pop3 tracepolls\n   plugin \"/usr/local/sbin/hotwayd -l 0 -p proxy:8080\"\n   \
     username \"me@example.com\" password \"secret1\"\n   fetchall\n",
    "poll pop.example.com proto pop3:\n    no envelope no dns\n    localdomains a.example b.example\n    \
     user isp is root * here,\n    password secret1 fetchall\n",
    "poll csi.example via \"pop.site1.example\" with proto POP3 and options no dns\n    user \"ME\" there \
     with password \"secret1\"\n        is me here options fetchall stripcr\n",
    "poll h proto pop3 bad-header accept user u limit 100000 warnings 86400 limitflush expunge 1 fetchlimit 200 \
     fetchsizelimit 1 fastuidl 1 bsmtp out preconnect 'pppd call isp' postconnect \"true\"\n",
];

/// Surprising, and understood by fetchmail.
const QUIRKS: &[&str] = &[
    // Names: the first word after these keywords is one, whatever it is.
    "poll x user y pass 5678 is keep here\n",
    "poll x user no pass no to no\n",
    "poll x user user pass pass is is\n",
    "poll x user y is with and b with c here\n",
    "poll x user y is a = ; b here\n",
    "poll x user y is \"a\"=\"keep\" here\n",
    "poll x user y is a =\n# comment\n keep here\n",
    "poll x user y is *=b here\n",
    "poll x user y is \"*\" here\n",
    "poll x user y is a=* here\n",
    "poll x user y to * here\n",
    "poll x user a b=c here is q there\n",
    "poll x user a here is q there\n",
    "poll x user a there is q here\n",
    "poll x user a here\n",
    "poll x is b is c there pass d keep\n",
    "poll x user a is b c here to d=e * is f\n",
    "poll 127.0.0.1 proto pop3\n",
    // Quotes and escapes.
    "poll x user a\"b pass c\"d is 'z\n",
    "poll x user \"ab\"c pass \"a\\\"b\"\n",
    "poll x user \"a\\0377b\" pass \"\\256q\" is \"\\xz\" \"\\x1g\" \"\\0b\" \"a\\qb\" \"\\X41\" here\n",
    "poll x user \"tab\\there\" pass \"nl\\nx\" is \"a\\\\b\" \"\\\\n\" \"q\\x27q\" here\n",
    "poll x user \"a\\\nb\" pass \"c\nd\"\n",
    "poll x user a pass b\\\nkeep\n",
    "poll x user a pass \\\n keep\n",
    "poll x user \"\" pass ''\n",
    "poll x\0y user a\0b pass \"c\0d\"\n",
    "poll x\x0c user y\x0b pass z\n",
    "poll x\r\n user y\r\n pass \"z\"\r\n# foo\r\nis b\r\n",
    // Comments.
    "poll x user y is z # one two",
    "poll x user y pass b#c is d\n",
    "poll x user y pass #secret\n is\n",
    "#\n#\npoll x # \\\nuser y\n",
    // Numbers.
    "poll x timeout 0 interval -5 user y limit -5 warnings 0 fetchlimit 4294967297 antispam -1 571\n",
    "poll x timeout -1\n",
    "poll x timeout -7\n",
    "set daemon -3 poll x\n",
    "poll x envelope -2 Foo\n",
    "poll x service \" 110\" poll y service \"+5\" poll z port 00110\n",
    // The last one counts, lists grow.
    "poll x user y keep nokeep smtp a smtp b smtphost c pass 1 pass 2\n",
    "poll x proto imap proto pop3 port 110 service imaps\n",
    // `defaults`
    "defaults\n",
    "defaults user x set daemon 5\n",
    "defaults proto pop3 defaults proto imap poll x\n",
    "poll \"defaults\" proto pop3 poll x\n",
    "skip \"defaults\" proto pop3 poll x\n",
    "defaults aka foo local bar no dns uidl checkalias\npoll x\npoll y aka z uidl\n",
    "defaults smtp a folder q antispam 1 fetchdomains r is s\npoll x user y smtp b is t\npoll z\n",
    "defaults envelope 3 Foo poll y envelope Bar poll z no envelope\n",
    "defaults no envelope poll y poll z envelope Received\n",
    "defaults auth ntlm bad-header accept proto imap\npoll x auth any bad-header reject proto auto\n",
    "defaults is * poll x user y is z\n",
    "defaults user d keep fetchall no rewrite limit 5 warnings 7 no sslcertck mda x\n\
     poll x user y nokeep nofetchall rewrite limit 0 warnings 0 sslcertck no stripcr\n",
    "defaults proto sdps poll x poll y proto kpop\n",
    "poll x auth password proto kpop\n",
    "poll x proto kpop auth password\n",
    "poll x proto kpop port 1\n",
    "poll x proto pop2 poll y proto rpop poll z auth external\n",
    // Paths.
    "set idfile i set pidfile ./p set logfile log poll x user y bsmtp b sslkey k sslcert /c sslcertfile - sslcertpath \"\"\n",
    "set logfile = log set postmaster \"\" set properties = set\n",
    "poll x user y stripcr mda \"\"\n",
    "poll x user y mda z poll w user v mda z no stripcr\n",
    "poll x uidl tracepolls\n",
    "set showdots poll x no uidl\n",
    "poll x poll x user a user a\n",
];

/// Refused by fetchmail.
const MISTAKES: &[&str] = &[
    "\n\npoll x\n proto pop3\nuser z port 110\n",
    "\n\npoll x\n proto pop3\nuser z\n port\n 110 uidl\n",
    "\n\npoll x\n proto pop3\nuser z\n keep no\n dns\n",
    "\n\npoll x\n proto pop3\nuser z\n aka b\n keep\n",
    "poll x\nuser y\nno\nuidl\n",
    "poll x\nuser \"a\nb\"\nfoo\n",
    "poll x\nproto",
    "poll x\nuser y is\n",
    "poll x\nuser y is z here there\n",
    "poll x\nuser y is z there here\n",
    "here poll x user y\n",
    "keep\n",
    "poll x pass 5678\nuser y\n",
    "poll x user y pass =\n",
    "poll x user y pass = z\n",
    "poll x user y pass b=c\n",
    "poll x user y\npass b;c\n",
    "poll x user y\npass #secret\nis joe here\n",
    "poll x user y is b keep c\n",
    "poll 12345\n",
    "poll pop3\n",
    "poll x user y smtphost 5\n",
    "poll x user y folder any\n",
    "poll x proto Pop3\n",
    "poll x proto \"pop3\"\n",
    "poll x auth \"cram-md5\"\n",
    "poll x auth pass\n",
    "Poll x\n",
    "poll x user y nosslcertck\n",
    "poll x user y no mda\n",
    "poll x user y no lmtp\n",
    "poll x user y no\nfoo\n",
    "poll x user y keep yes\n",
    "poll x user y limit 50k\n",
    "poll x timeout \"30\"\n",
    "poll x port pop3s\n",
    "poll x:110 user y\n",
    "poll x user a b is q there\n",
    "poll x user y properties properties\n",
    "poll x user y\n# comment",
    "poll x syslog\n",
    "set daemon = 30 poll x\n",
    "set syslog = l poll x\n",
    "set poll x\n",
    "set no daemon\n",
    "\u{feff}poll x user y\n",
    "poll x user y fetchall keep\nserver\n",
    // After the grammar.
    "poll x defaults proto pop3\n",
    "defaults user a user b defaults poll x\n",
    "defaults defaults defaults\n",
    "poll x interface eth0\n",
    "poll x interface eth0/foo\n",
    "poll x interface eth0/1.2.3.4/foo\n",
    "poll x port 0\n",
    "poll x service 65536\n",
    "poll x service \"\"\n",
    "poll x user a lmtp\n",
    "poll x user a lmtp smtphost a/25\n",
    "poll x user a lmtp smtphost a/smtp\n",
    "skip x user a lmtp\n",
    "poll x user a idle user b\n",
    "poll x user a idle folder a b\n",
];
