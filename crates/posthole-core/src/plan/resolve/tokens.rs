//! The tokens of `ProxyCommand` and `ProxyJump`, which `ssh -G` leaves as they are.

/// What the tokens stand for (ssh_config(5), TOKENS).
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    /// `%h`: the real host name.
    pub(super) host: &'a str,
    /// `%n`: the host as written.
    pub(super) original: &'a str,
    /// `%p`: the port.
    pub(super) port: &'a str,
    /// `%r`: the user there.
    pub(super) user: &'a str,
}

/// Puts in what the tokens stand for.
///
/// # Errors
/// Says what is wrong; ssh(1) refuses such a text, too.
pub(super) fn expand(text: &str, tokens: &Tokens<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            expanded.push(character);
            continue;
        }
        expanded.push_str(match characters.next() {
            Some('%') => "%",
            Some('h') => tokens.host,
            Some('n') => tokens.original,
            Some('p') => tokens.port,
            Some('r') => tokens.user,
            Some(other) => return Err(format!("there is no token `%{other}`")),
            None => return Err("a `%` at the end stands for nothing".to_owned()),
        });
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_for_the_host_and_unknown_ones_are_refused() {
        let tokens = Tokens {
            host: "192.0.2.1",
            original: "pop",
            port: "2222",
            user: "me",
        };
        let text = "nc %h:%p %r@%n 100%% %";
        assert_eq!(
            expand(&text[..text.len() - 2], &tokens).unwrap(),
            "nc 192.0.2.1:2222 me@pop 100%"
        );
        assert!(expand(text, &tokens).is_err());
        assert_eq!(expand("%C", &tokens).unwrap_err(), "there is no token `%C`");
    }
}
