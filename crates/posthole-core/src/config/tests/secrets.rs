//! Files with passwords in them.

use expect_test::expect;

use super::everything::FULL;
use super::*;

#[test]
fn literal_passwords_need_a_file_that_nobody_else_can_read() {
    let (with, _) = parse(FULL);
    let (without, _) = parse("[account.a]\nserver = 'pop3://u@h'\npassword = { command = 'x' }");
    for (mode, refused) in [
        (0o100_600, false),
        (0o100_400, false),
        (0o100_700, false),
        (0o100_640, true),
        (0o100_604, true),
        (0o100_644, true),
        (0o100_666, true),
        // Who may only write may not read.
        (0o100_622, false),
    ] {
        assert_eq!(
            check_permissions(mode, &with).is_some(),
            refused,
            "{mode:o}"
        );
        assert!(check_permissions(mode, &without).is_none(), "{mode:o}");
    }
    let refusal = check_permissions(0o100_644, &with).unwrap();
    assert_eq!(&FULL[refusal.span.clone().unwrap()], "hunter2");
    let refusal = Diagnostic {
        span: None,
        ..refusal
    };
    expect![[r#"
        the file holds a password and everybody can read it this password is not secret
          help: `chmod 600` the file (its mode is 644), or keep the password elsewhere, such as password = { command = "pass show mail" }
    "#]].assert_eq(&render(FULL, &[refusal]));
}

#[test]
fn misplaced_passwords_need_such_a_file_too() {
    for line in [
        "password = 'hunter2'",
        "passwd = 'hunter2'",
        "password = { litteral = 'hunter2' }",
    ] {
        let (config, _) = parse(&format!("[account.a]\nserver = 'pop3://u@h'\n{line}"));
        assert!(check_permissions(0o644, &config).is_some(), "{line}");
    }
}

/// Texts with the password `hunter2` where it belongs, where it does not, and where nobody could
/// have meant it.
const LEAKS: &[&str] = &[
    "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = 'hunter2', x = 1 }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { litteral = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { value = ['hunter2'] }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = \"\"\"hunter2\nhunter2\"\"\" }",
    "[account.a]\nserver = 'pop3://u@h'\npassword.literal = 'hunter2'\nkep = 1",
    "[account.a.password]\nliteral = 'hunter2'\nx = 1",
    "[account.a]\nserver = 'pop3://u@h'\npassword = 'hunter2'",
    "[account.a]\nserver = 'pop3://u@h'\npassword = ['hunter2']",
    "[account.a]\nserver = 'pop3://u@h'\npasswrod = 'hunter2'",
    "[account.a]\nserver = 'pop3://u@h'\npass = 'hunter2'",
    "[account.a]\nserver = 'pop3://u@h'\nsecret = { a = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\ntunnel = { password = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\n[account.a.secret]\na = [1, 'hunter2']",
    "[account.a]\nserver = 'pop3://u@h'\n[account.a.b]\npassword = 'hunter2'",
    "[accounts.a]\npassword = { literal = 'hunter2' }",
    "[account]\npassword = { literal = 'hunter2' }",
    "[[account.a]]\npassword = { literal = 'hunter2' }",
    "password = 'hunter2'",
    "[account.a]\nserver = 'pop3://u:hunter2@h'",
    "[account.a]\nserver = 'pop3://u:hunter2/x@h'",
    "[account.a]\nserver = 'pop3://u:x@hunter2@h'",
    "[account.a]\nserver = 'pop3://u:hunter2#@h:x'",
    "[account.a]\nserver = 'imaps://u:hunter2@h'",
    "[account.a]\nserver = 'u:hunter2@h'",
    "[account.a]\nserver = \"pop3://u:\\u0068unter2hunter2@h\"",
    "[account.a]\nserver = 'pop3://u@h'\nvia = 'u:hunter2@h'",
    "[account.a]\nserver = 'pop3://u@h'\nvia = ['a', 'ssh://u:hunter2@h']",
    "[ssh.h]\npassword = { literal = 'hunter2' }\nport = 'x'",
    "[ssh.h]\npassword = 'hunter2'",
    // Broken syntax.
    "[account.a]\npassword = hunter2",
    "[account.a]\npassword = 'hunter2",
    "[account.a]\npassword = { literal = 'hunter2'",
    "[account.a]\npassword = { literal = 'hunter2', }}",
    "[account.a]\npassword = { literal 'hunter2' }\npassword = { literal = 'hunter2' }",
    "[account.a\npassword = { literal = 'hunter2' }",
    "[account.a]\npassword = { literal = '''hunter2\nhunter2\nhunter2",
    "[account.a]\npassword = { literal = \"\"\"\nhunter2\nhunter2\"\"\" } x",
    "[account.a]\nserver = pop3://u:hunter2@h",
    "[account.a]\nserver = 'pop3://u:hunter2@h",
];

#[test]
fn no_password_is_shown_wherever_it_stands() {
    for text in LEAKS {
        let (config, diagnostics) = parse(text);
        let shown = config.redact(text);
        assert_eq!(shown.len(), text.len());
        let mut all = format!("{shown}{config:?}");
        for Diagnostic {
            message,
            label,
            help,
            ..
        } in diagnostics
        {
            write!(all, "{message}{label}{help:?}").unwrap();
        }
        assert!(!all.contains("hunter2"), "{text}\n=>\n{all}");
    }
}

#[test]
fn redaction_leaves_everything_else_alone() {
    let text =
        "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = 'ä\"b' } # tail\nx = 1\n";
    let (config, _) = parse(text);
    assert_eq!(
        config.redact(text),
        "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = '****' } # tail\nx = 1\n"
    );
    let text =
        "[account.a]\nserver = 'pop3://u@h'\npassword = { command = 'pass show x' }\nkeep = 14d\n";
    assert_eq!(parse(text).0.redact(text), text);
}

#[test]
fn a_text_that_the_spans_are_not_of_does_no_harm() {
    let (config, _) = parse(FULL);
    assert_eq!(config.redact("short"), "short");
}

#[test]
fn load_says_what_stands_between() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let missing = load(&path).unwrap_err();
    assert!(missing.is_not_found() && missing.hint().is_some());

    std::fs::write(&path, b"[defaults]\n\xff").unwrap();
    let error = load(&path).unwrap_err();
    assert!(
        matches!(error, LoadError::NotUtf8 { line: 2, .. }),
        "{error}"
    );

    std::fs::write(&path, vec![b'#'; (16 << 20) + 1]).unwrap();
    assert!(matches!(
        load(&path).unwrap_err(),
        LoadError::TooLarge { .. }
    ));

    let error = load(dir.path()).unwrap_err();
    assert!(
        matches!(error, LoadError::Read { .. }) && !error.is_not_found(),
        "{error}"
    );
}

#[test]
fn a_readable_file_with_a_literal_password_is_refused_when_loaded() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, FULL).unwrap();
    for (mode, refused) in [(0o600, false), (0o644, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let source = load(&path).unwrap();
        assert!(!format!("{source:?}").contains("hunter2"));
        let (_, diagnostics) = source.parse();
        assert_eq!(
            diagnostics.iter().any(Diagnostic::is_error),
            refused,
            "{mode:o}"
        );
    }
}
