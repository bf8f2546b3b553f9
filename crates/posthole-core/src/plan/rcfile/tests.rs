//! What an rc file comes to.

use super::*;
use crate::message::Envelope;
use crate::openssh::NoOpenSsh;
use crate::plan::{
    Authorities, DeliverTo, Edits, MdaCommand, NameService, ReportTo, Route, SmtpProtocol,
    SmtpServer, StatusFields, Undeliverable,
};

fn plan(text: &str) -> RcPlan {
    plan_with(text, true)
}

fn plan_with(text: &str, native_tunnels: bool) -> RcPlan {
    let (rcfile, diagnostics) = fetchmailrc::parse(text.as_bytes());
    assert!(
        !diagnostics.iter().any(Diagnostic::is_error),
        "{diagnostics:?}"
    );
    let request = fetchmailrc::Request {
        check_all: false,
        flags: fetchmailrc::Flags::default(),
        hostname: "here".into(),
        idfile: "/home/manish/.fetchids".into(),
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
        native_tunnels,
        superuser: false,
        netrc: Some("/home/manish/.netrc".into()),
    };
    let vars = [("HOME", "/home/manish"), ("USER", "manish")];
    let vars = vars.map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::new("/cwd".into(), vars);
    resolve_rcfile(&configuration, &wishes, &environment, &NoOpenSsh)
}

#[track_caller]
fn errand(text: &str) -> Errand {
    let mut plan = plan(text);
    assert_eq!(plan.errands.len(), 1, "{plan:?}");
    plan.errands.remove(0).unwrap()
}

#[track_caller]
fn refused(text: &str) -> Undoable {
    plan(text).errands.remove(0).unwrap_err()
}

const HOWTO: &str = "\
defaults
user msingh is manish
no rewrite
poll localhost with protocol pop3 and port 11110:
preconnect \"ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 5\"
password foobar;
";

#[test]
fn the_howtos_file_is_a_tunnel() {
    let errand = errand(HOWTO);
    let job = &errand.job;
    assert_eq!(job.server.to_string(), "popserver:110");
    let Route::Ssh(hops) = &job.route else {
        panic!("{:?}", job.route)
    };
    assert_eq!(hops.len(), 1);
    assert_eq!(hops[0].login(), "msingh@popserver");
    assert!(hops[0].compression);
    assert_eq!(errand.preconnect, None);
    assert_eq!(errand.tunnel_for, Some(TunnelFor::Preconnect));
    assert_eq!(job.tls.start, TlsStart::Never);
    assert_eq!(job.keep, Keep::Never);
    let DeliverTo::Smtp(to) = &job.deliver[0] else {
        panic!("{:?}", job.deliver)
    };
    assert_eq!(to.recipients, ["manish@localhost"]);
    assert_eq!(to.to_string(), "smtp:localhost:25");
}

#[test]
fn as_it_is_written_it_is_the_same_mailbox() {
    let native = errand(HOWTO);
    let mut plan = plan_with(HOWTO, false);
    let written = plan.errands.remove(0).unwrap();
    assert_eq!(written.job.mailbox, native.job.mailbox);
    assert_eq!(written.job.server.to_string(), "localhost:11110");
    assert!(matches!(written.job.route, Route::Direct));
    assert!(written.preconnect.is_some());

    let text = "poll mail proto pop3 plugin 'ssh gate nc %h %p' user u pass p";
    let native = errand(text);
    let mut plan = plan_with(text, false);
    let written = plan.errands.remove(0).unwrap();
    assert_eq!(written.job.mailbox, native.job.mailbox);
    assert!(matches!(written.job.route, Route::Plugin(_)));
}

#[test]
fn what_is_not_understood_is_run() {
    for command in [
        "ssh -f gate -L 11110:a:110 -L 5000:b:25 sleep 5",
        "ssh -f gate -L 11111:a:110 sleep 5",
        "logger hello",
    ] {
        let text =
            format!("poll localhost proto pop3 port 11110 user u pass p preconnect '{command}'");
        let errand = errand(&text);
        assert_eq!(errand.preconnect.unwrap(), command);
        assert!(matches!(errand.job.route, Route::Direct));
    }
}

#[test]
fn a_plugin_becomes_a_way() {
    let with = |plugin: &str| {
        errand(&format!(
            "poll mail proto pop3 plugin '{plugin}' user u pass p"
        ))
    };
    let ssh = with("ssh gate nc %h %p");
    assert!(matches!(ssh.job.route, Route::Ssh(_)));
    assert_eq!(ssh.job.server.to_string(), "mail:110");
    assert_eq!(ssh.job.mailbox, "pop3:u@mail via gate");
    let tcp = with("nc %h %p");
    assert!(matches!(tcp.job.route, Route::Direct));
    let Route::Plugin(words) = with("my-helper  --to %h:%p").job.route else {
        panic!("it is run")
    };
    assert_eq!(words, ["my-helper", "--to", "mail:110"]);
}

#[test]
fn no_password_is_exposed_unless_the_file_says_so() {
    use TlsStart::*;
    for (options, start, allowed) in [
        ("mail|", Required, false),
        ("mail|sslproto 'auto'", Required, false),
        ("mail|sslproto 'tls1.2+'", Required, false),
        ("mail|sslproto ''", Never, true),
        ("mail|ssl", AtOnce, false),
        ("mail|ssl sslproto ''", AtOnce, false),
        ("localhost|", Never, false),
        ("127.0.0.1|sslproto 'auto'", Required, false),
    ] {
        let (host, options) = options.split_once('|').unwrap();
        let errand = errand(&format!("poll {host} proto pop3 user u pass p {options}"));
        assert_eq!(errand.job.tls.start, start, "{host} {options}");
        assert_eq!(errand.job.allow_plaintext, allowed, "{host} {options}");
    }
}

#[test]
fn files_of_certificates_take_the_place_of_the_systems() {
    let with =
        |options: &str| errand(&format!("poll mail proto pop3 user u pass p ssl {options}")).job;
    let job = with("sslcertfile ca.pem sslcert me.pem sslcommonname pop.example.org");
    let Authorities::Files(files) = &job.tls.authorities else {
        panic!("{:?}", job.tls)
    };
    assert_eq!(files, &[PathBuf::from("/home/manish/ca.pem")]);
    assert_eq!(job.tls.name, "pop.example.org");
    let identity = job.tls.identity.unwrap();
    assert_eq!(identity.key, identity.certificate);
    let Authorities::System(store) = with("sslcertpath ca").tls.authorities else {
        panic!("a directory")
    };
    assert_eq!(store.directories, [PathBuf::from("/home/manish/ca")]);
    let text = "poll mail proto pop3 user u pass p ssl no sslcertck sslfingerprint 'AA'";
    assert!(refused(text).why.message.contains("MD5"));
}

#[test]
fn mail_goes_where_fetchmail_brings_it() {
    let with = |options: &str| {
        let text = format!("poll mail proto pop3 user u pass p {options}");
        errand(&text).job.deliver.remove(0)
    };
    for (options, name, recipients) in [
        ("", "smtp:localhost:25", "manish@localhost"),
        ("is joe here", "smtp:localhost:25", "joe@localhost"),
        ("is u=joe here", "smtp:localhost:25", "joe@localhost"),
        ("smtphost a/26,b", "smtp:a:26,b:25", "manish@a"),
        ("smtphost /run/lmtp", "lmtp:/run/lmtp", "manish@localhost"),
        ("lmtp smtphost a/24", "lmtp:a:24", "manish@a"),
        ("smtpaddress x.org", "smtp:localhost:25", "manish@x.org"),
        ("smtpname joe@y.org", "smtp:localhost:25", "joe@y.org"),
    ] {
        let DeliverTo::Smtp(to) = with(options) else {
            panic!("{options}")
        };
        assert_eq!(to.to_string(), name, "{options}");
        assert_eq!(to.recipients, [recipients], "{options}");
    }
    let DeliverTo::Smtp(to) = with("antispam 571,550 batchlimit 7") else {
        panic!("SMTP")
    };
    assert_eq!(to.antispam, [571, 550]);
    assert_eq!(to.batch_limit.map(u32::from), Some(7));
    assert_eq!(to.protocol, SmtpProtocol::Smtp);
    for (host, start) in [
        ("localhost", TlsStart::Never),
        ("relay", TlsStart::IfOffered),
    ] {
        let text = format!("poll p esmtpname me esmtppassword x user u pass y smtphost {host}\n");
        let DeliverTo::Smtp(to) = errand(&text).job.deliver.remove(0) else {
            panic!("SMTP")
        };
        let login = to.login.unwrap();
        assert_eq!((login.user.as_str(), to.tls.start), ("me", start), "{host}");
        assert!(!format!("{login:?}").contains("\"x\""));
    }
    let DeliverTo::Mda(to) = with("mda 'procmail -d %T'") else {
        panic!("a command")
    };
    assert_eq!(to.command, MdaCommand::Shell("procmail -d %T".to_owned()));
    assert_eq!((to.recipients, to.user), (vec!["manish".to_owned()], None));
    assert_eq!(with("bsmtp out").to_string(), "bsmtp:/home/manish/out");
    assert_eq!(with("bsmtp '-'").to_string(), "bsmtp:-");
}

#[test]
fn numbers_mean_what_they_mean_to_fetchmail() {
    let job = errand(
        "poll mail proto pop3 timeout 90 user u pass p keep limit 5000 limitflush fetchlimit 3 \
         fetchall flush expunge 5",
    )
    .job;
    assert_eq!(job.timeout, Duration::from_secs(90));
    assert_eq!(job.keep, Keep::Always);
    let select = Select {
        limit: Some(5000),
        limit_flush: true,
        fetch_limit: Some(3),
        fetch_all: true,
        kept: KeptMail::ComesAgain,
        flush: true,
        expunge: NonZeroU32::new(5),
    };
    assert_eq!(job.select, select);
    let deleting = errand("poll mail proto pop3 user u pass p fetchall").job;
    assert!(!deleting.select.fetch_all, "nothing comes twice");
    assert_eq!(deleting.select.kept, KeptMail::ComesAgain, "what was seen");
    let plain = errand("poll mail proto pop3 user u pass p").job;
    assert_eq!(plain.timeout, Duration::from_secs(300));
    let select = Select {
        kept: KeptMail::Stays,
        ..Select::default()
    };
    assert_eq!(plain.select, select);
}

#[test]
fn a_password_comes_from_the_file_or_from_netrc() {
    let given = errand("poll label via mail.example.org proto pop3 user u pass p").job;
    assert!(matches!(given.password, PasswordSource::Given { .. }));
    let netrc = errand("poll label via mail.example.org proto pop3 user u").job;
    let PasswordSource::Netrc(entry) = netrc.password else {
        panic!("{:?}", netrc.password)
    };
    assert_eq!(entry.machines, ["label", "mail.example.org"]);
    assert_eq!(entry.login, "u");
    let eval = errand("poll mail proto pop3 user u passwordeval 'pass show mail'").job;
    assert!(matches!(eval.password, PasswordSource::Command(_)));
}

#[test]
fn what_cannot_be_done_is_refused_and_the_rest_goes_on() {
    for (text, words, is_protocol) in [
        ("proto imap user u pass p", "IMAP", true),
        ("proto etrn user u pass p", "ETRN", true),
        ("proto pop3 auth ntlm user u pass p", "ntlm", false),
        ("proto pop3 auth ssh user u pass p", "ssh", false),
        ("proto pop3 service nntp user u pass p", "nntp", false),
    ] {
        let mut plan = plan(&format!("poll a {text}\npoll b proto pop3 user v pass q"));
        let undoable = plan.errands.remove(0).unwrap_err();
        assert!(undoable.why.message.contains(words), "{text}: {undoable:?}");
        assert_eq!(undoable.is_protocol, is_protocol, "{text}");
        assert!(undoable.why.help.is_some(), "{text}");
        assert!(plan.errands.remove(0).is_ok());
    }
}

#[test]
fn what_is_not_obeyed_is_said_once() {
    let plan = plan(
        "poll a proto pop3 user u pass p forcecr\n\
         poll b proto pop3 retrieve-error abort user v pass q forcecr\n\
         skip c proto pop3 user w pass r pass8bits",
    );
    let messages: Vec<_> = plan
        .remarks
        .warnings
        .iter()
        .map(|warning| &*warning.message)
        .collect();
    assert_eq!(
        messages,
        [
            "`forcecr` is not obeyed: each destination gets the line ends that belong there",
            "`retrieve-error abort` is not obeyed: one message that fails would hold up all others; it \
             is tried again later",
        ]
    );
}

#[test]
fn messages_are_changed_as_fetchmail_would() {
    let plain = errand("poll label via mail.example.org proto pop3 user u pass p is me here").job;
    let trace = plain.edits.received.unwrap();
    assert_eq!(
        (&*trace.from, trace.account, trace.recipient.as_deref()),
        ("mail.example.org", None, Some("me"))
    );
    assert_eq!(plain.edits.rewrite.as_deref(), Some("mail.example.org"));
    assert_eq!(plain.edits.status, StatusFields::DropEmpty);

    let text = "set invisible\n\
                poll mail proto pop3 user u pass p no rewrite dropstatus dropdelivered mimedecode \
                stripcr";
    let edits = Edits {
        status: StatusFields::Drop,
        drop_delivered: true,
        mimedecode: true,
        strip_cr: true,
        ..Edits::default()
    };
    assert_eq!(errand(text).job.edits, edits);
    let traced = errand("poll mail proto pop3 tracepolls user u pass p").job;
    let account = traced.edits.received.unwrap().account;
    assert_eq!(account, Some(("mail".to_owned(), "u".to_owned())));
}

#[test]
fn several_names_are_a_mailbox_of_several_people() {
    assert!(
        errand("poll mail proto pop3 user u pass p is me here")
            .job
            .multidrop
            .is_none()
    );
    let job = errand(
        "set postmaster root\n\
         poll label via mail proto pop3 envelope 1 X-Original-To qvirtual joe- aka a.example \
         localdomains b.example no dns user u pass p is ann=anna bob * here",
    )
    .job;
    let multidrop = job.multidrop.unwrap();
    let rules = &multidrop.rules;
    let name = "X-Original-To".to_owned();
    assert_eq!(rules.envelope, Envelope::Field { name, skip: 1 });
    assert_eq!(rules.prefix.as_deref(), Some("joe-"));
    assert_eq!(rules.servers, ["label", "mail"]);
    assert_eq!(rules.aliases, ["a.example"]);
    assert_eq!(rules.local_domains, ["b.example"]);
    let names = [("ann", "anna"), ("bob", "bob")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(rules.names, names);
    assert!(rules.passes_others);
    assert_eq!(multidrop.dns, NameService::Off);
    assert_eq!(multidrop.postmaster.as_deref(), Some("root"));
    assert_eq!(job.edits.received.unwrap().recipient, None);
}

#[test]
fn an_interface_has_an_address_and_perhaps_a_mask() {
    let with = |interface: &str| {
        let text = format!("poll mail proto pop3 interface '{interface}' user u pass p");
        errand(&text).interface.unwrap()
    };
    let exact = with("ppp0/192.0.2.7");
    assert_eq!(exact.to_string(), "ppp0/192.0.2.7");
    assert!(exact.admits([192, 0, 2, 7].into()) && !exact.admits([192, 0, 2, 6].into()));
    let range = with("ppp0/192.0.2.7/255.255.255.0");
    assert!(range.admits([192, 0, 2, 6].into()) && !range.admits([192, 0, 3, 7].into()));
}

#[test]
fn what_is_refused_for_good_goes_as_the_globals_say() {
    let with = |globals: &str| {
        let text = format!("{globals} poll mail proto pop3 user u pass p smtpaddress example.org");
        let DeliverTo::Smtp(to) = errand(&text).job.deliver.remove(0) else {
            panic!("SMTP is the default")
        };
        to.undeliverable.unwrap()
    };
    let usual = Undeliverable {
        stays: true,
        report_to: ReportTo::Sender,
        reports_spam: false,
        postmaster: Some("manish@example.org".to_owned()),
    };
    assert_eq!(with(""), usual);
    let other = Undeliverable {
        stays: false,
        report_to: ReportTo::Postmaster,
        reports_spam: true,
        postmaster: None,
    };
    let globals = "set no softbounce set no bouncemail set spambounce set postmaster ''";
    assert_eq!(with(globals), other);
}

#[test]
fn a_plugout_knows_its_server() {
    let text = "poll mail proto pop3 plugout 'relay -x %h  %p' user u pass p smtphost a/26,b";
    let DeliverTo::Smtp(to) = errand(text).job.deliver.remove(0) else {
        panic!("SMTP is the default")
    };
    let words = |server: &SmtpServer| match server {
        SmtpServer::Plugin(_, words) => words.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let words: Vec<Vec<_>> = to.servers.iter().map(words).collect();
    let words: Vec<_> = words.iter().map(|words| words.join(" ")).collect();
    assert_eq!(words, ["relay -x a 26", "relay -x b 25"]);
}
