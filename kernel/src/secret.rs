//! A text that is never shown.

use std::fmt;

/// A password, a token, a key or an address that holds one: neither `Debug` nor `Display` shows it, and it cannot be
/// serialised by accident.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// What is shown instead (Druid's password providers show this too).
pub const MASK: &str = "********";

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// An address as messages and logs may show it: without the user and password that a URL may hold.
pub fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    match place.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, without_userinfo};

    #[test]
    fn shown_urls_have_no_passwords() {
        assert_eq!(
            without_userinfo("http://u:geheim@h:1/a@b"),
            "http://********@h:1/a@b"
        );
        assert_eq!(without_userinfo("http://u:ge@heim@h"), "http://********@h");
        assert_eq!(without_userinfo("http://h/a@b"), "http://h/a@b");
        assert_eq!(without_userinfo("/a@b"), "/a@b");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("geheim");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "******** ******** Some(********)"
        );
        assert_eq!(secret.expose(), "geheim");
    }
}
