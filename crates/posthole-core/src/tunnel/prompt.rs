//! What a host's question for a secret means: whose password is wanted, and whether one is.
//!
//! A password that was typed is kept for who asked for it and for nobody else, and only if it was
//! asked for as such. The words are the server's, so in doubt a prompt is one for a person.

use crate::plan::Hop;

use super::host_key::target;

/// A login in full: two hosts of the same name on other ports or behind other hosts are not the
/// same one.
pub(super) fn login_at(hop: &Hop, before: &[Hop]) -> String {
    let mut login = format!("{}@{}", hop.user, target(&hop.name, hop.address.port));
    for (index, host) in before.iter().enumerate() {
        login += if index == 0 { " behind " } else { ", " };
        login += &target(&host.name, host.address.port);
    }
    login
}

/// Whether a server's prompt is for the password of the login, as far as its words tell; `user` is
/// who logs in.
pub(super) fn wants_password(prompt: &str, user: &str) -> bool {
    let prompt = prompt.trim().trim_end_matches(':').trim_end();
    let prompt = prompt.to_lowercase();
    let words: Vec<_> = prompt
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.iter().any(|word| NOT_THE_PASSWORD.contains(word)) {
        return false;
    }
    // Password for msingh@popserver:
    let named = prompt
        .strip_prefix("password for ")
        .is_some_and(|whose| whose.split('@').next() == Some(&*user.to_lowercase()));
    named || words.last().is_some_and(|word| PASSWORD.contains(word))
}

/// The last word of a prompt for the password, as `pam_unix` and others say it in the languages
/// that they know.
const PASSWORD: [&str; 15] = [
    "contraseña",
    "hasło",
    "heslo",
    "jelszó",
    "kennwort",
    "lösenord",
    "parola",
    "passe",
    "passord",
    "passphrase",
    "password",
    "passwort",
    "senha",
    "wachtwoord",
    "пароль",
];

/// What makes it another one, which is new or good for one use.
const NOT_THE_PASSWORD: [&str; 18] = [
    "again",
    "code",
    "confirm",
    "dynamic",
    "new",
    "nouveau",
    "neues",
    "once",
    "one",
    "onetime",
    "otp",
    "passcode",
    "pin",
    "repeat",
    "retype",
    "temporary",
    "time",
    "token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_for_the_password_is_told_from_one_for_a_code() {
        for prompt in [
            "Password: ",
            "msingh's PASSWORD:",
            "(current) UNIX password: ",
            "Password for msingh@popserver:",
            "Mot de passe :",
            "Passphrase",
        ] {
            assert!(wants_password(prompt, "msingh"), "{prompt}");
        }
        for prompt in [
            "",
            ":",
            "Verification code: ",
            "One-time password (OATH) for `msingh':",
            "One-time password:",
            "New password: ",
            "Retype new password:",
            "Password or token:",
            "Password for the vault:",
            "Duo two-factor login",
            "Пин:",
        ] {
            assert!(!wants_password(prompt, "msingh"), "{prompt}");
        }
    }

    #[test]
    fn hosts_of_one_name_have_logins_of_their_own() {
        let mut hop = Hop::new("mail", "me");
        let gates = [Hop::new("gate", "me"), Hop::new("middle", "me")];
        assert_eq!(login_at(&hop, &[]), "me@mail");
        hop.address.port = 2202;
        assert_eq!(login_at(&hop, &[]), "me@mail:2202");
        assert_eq!(login_at(&hop, &gates), "me@mail:2202 behind gate, middle");
    }
}
