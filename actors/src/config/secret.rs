//! What must not be shown: passwords, tokens, keys, and the user part of an address.
//!
//! Pure. `mesher config` and excerpts of files go through it.

/// What stands where a secret was.
pub(super) const REDACTED: &str = "[redacted]";

/// Words in the last part of a key that make its value a secret.
const WORDS: [&str; 7] = ["password", "passwd", "passphrase", "secret", "token", "accesskey", "credential"];
/// Another one, but for `certPwdFile`, which names a file.
const WORD_OF_FILES: &str = "pwd";

/// The value of this key is a secret.
#[must_use]
pub(super) fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    WORDS.iter().any(|word| last.contains(word)) || last.contains(WORD_OF_FILES) && !last.ends_with("file")
}

/// A line of a file that names such a key, and so may well hold its value.
#[must_use]
pub(super) fn is_named_in(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(is_secret)
}

/// The text without the user part of any address in it: `http://user:word@host` shows `http://[redacted]@host`.
#[must_use]
pub(super) fn without_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("://") {
        let end = tail.find(['/', ',', ' ', '?', '#']).unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        out.push_str(before);
        out.push_str("://");
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(REDACTED);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_credentials_are_secret() {
        assert!(is_secret("servicecomb.credentials.account.password"));
        assert!(is_secret("servicecomb.credentials.secretKey"));
        assert!(is_secret("ssl.orders.rest.Provider.certPwd"), "written where the name of its file belongs");
        assert!(is_secret("ssl.orders.rest.Provider.keyPassphrase"));
        assert!(!is_secret("ssl.orders.rest.Provider.certPwdFile"));
        assert!(!is_secret("servicecomb.credentials.project"));
        assert!(!is_secret("servicecomb.registry.address"));
    }

    #[test]
    fn the_user_part_of_every_address_goes() {
        let text = "http://me:s3cr@t@a:1,https://b:2/x@y";
        assert_eq!(without_user(text), "http://[redacted]@a:1,https://b:2/x@y");
    }
}
