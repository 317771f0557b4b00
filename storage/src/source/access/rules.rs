//! The rules of `--extern-allow`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::address::{Net, Reach, reach};
use crate::StorageError;

/// What may be read. Each rule is one of
///
/// - `/path` or `local:/path`: the file or folder, and all below it;
/// - `http://HOST[:PORT][/PATH]` (also `https`, `s3`, …): this host at this port, the path and all below it. A name must
///   not lead to a private address; an address that is written out may be one, and so may `localhost`;
/// - `http://*[/PATH]`: any host with a public address;
/// - `http://`: any host, those with private addresses too, but for link-local ones (metadata services);
/// - `net:ADDRESS[/BITS]`: private addresses that the names of other rules may lead to;
/// - `env:NAME`: the variable of the reading process's environment, as a password of a source; `env:` for all of them.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    paths: Vec<PathBuf>,
    urls: Vec<UrlRule>,
    nets: Vec<Net>,
    /// Names; an empty one stands for all.
    variables: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct UrlRule {
    scheme: String,
    host: HostRule,
    /// `None` for any.
    port: Option<u16>,
    /// Without a slash at its end; empty for all.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostRule {
    Any,
    AnyPublic,
    Only(String),
}

/// Stands for `*` while a rule is read as a URL.
const ANY_HOST: &str = "any.invalid";

impl Rules {
    /// # Errors
    /// [`StorageError::Spec`] for a rule that is none of these.
    pub fn parse(allow: &[String]) -> Result<Rules, StorageError> {
        let mut rules = Rules::default();
        for rule in allow
            .iter()
            .map(|rule| rule.trim())
            .filter(|rule| !rule.is_empty())
        {
            if let Some(net) = rule.strip_prefix("net:") {
                let net = Net::parse(net).ok_or_else(|| malformed(rule, "expected net:ADDRESS[/BITS]"))?;
                rules.nets.push(net);
            } else if let Some(name) = rule.strip_prefix("env:") {
                rules.variables.push(name.to_owned());
            } else if rule.contains("://") {
                rules.urls.push(UrlRule::parse(rule)?);
            } else {
                let path = Path::new(rule.strip_prefix("local:").unwrap_or(rule));
                if path.as_os_str().is_empty() {
                    return Err(malformed(rule, "expected local:/PATH"));
                }
                rules
                    .paths
                    .push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
            }
        }
        Ok(rules)
    }

    /// Whether a file may be read; its path has neither links nor `..`.
    pub fn allow_path(&self, resolved: &Path) -> bool {
        self.paths.iter().any(|prefix| resolved.starts_with(prefix))
    }

    /// Whether a password may come from a variable of the environment.
    pub fn allow_variable(&self, name: &str) -> bool {
        self.variables
            .iter()
            .any(|allowed| allowed.is_empty() || allowed == name)
    }

    /// Whether a URL may be asked, as far as that can be told before its name is resolved.
    pub fn allow_url(&self, url: &Url) -> bool {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        self.urls.iter().any(|rule| {
            rule.matches(url)
                && literal.is_none_or(|address| {
                    matches!(rule.host, HostRule::Only(_)) || self.allow_address("", address)
                })
        })
    }

    /// Whether a connection may be made to an address that `name` was resolved to.
    pub fn allow_address(&self, name: &str, address: IpAddr) -> bool {
        if self.nets.iter().any(|net| net.contains(address)) {
            return true;
        }
        let is_http = |rule: &UrlRule| matches!(rule.scheme.as_str(), "http" | "https");
        let any_host = self
            .urls
            .iter()
            .any(|rule| rule.host == HostRule::Any && is_http(rule));
        let this_machine = || {
            let named = |rule: &UrlRule| rule.host == HostRule::Only("localhost".to_owned());
            name.trim_end_matches('.') == "localhost" && address.is_loopback() && self.urls.iter().any(named)
        };
        match reach(address) {
            Reach::Public => true,
            Reach::Private => any_host || this_machine(),
            Reach::LinkLocal => false,
        }
    }
}

fn malformed(rule: &str, reason: &str) -> StorageError {
    StorageError::Spec(format!("--extern-allow [{}]: {reason}", super::shown_url(rule)))
}

impl UrlRule {
    fn parse(rule: &str) -> Result<UrlRule, StorageError> {
        let (scheme, place) = rule.split_once("://").unwrap_or((rule, ""));
        if place.is_empty() {
            return Ok(UrlRule {
                scheme: scheme.to_ascii_lowercase(),
                host: HostRule::Any,
                port: None,
                path: String::new(),
            });
        }
        let any_public = place == "*" || place.starts_with("*/");
        let text = if any_public {
            format!("{scheme}://{ANY_HOST}{}", place.trim_start_matches('*'))
        } else {
            rule.to_owned()
        };
        let url = Url::parse(&text).map_err(|error| malformed(rule, &error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed(rule, "a prefix has neither user nor password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(malformed(rule, "a prefix ends with a path"));
        }
        let host = host_of(&url).ok_or_else(|| malformed(rule, "it names no host"))?;
        Ok(UrlRule {
            scheme: url.scheme().to_owned(),
            port: if any_public {
                None
            } else {
                url.port_or_known_default()
            },
            host: if any_public {
                HostRule::AnyPublic
            } else {
                HostRule::Only(host)
            },
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    fn matches(&self, url: &Url) -> bool {
        let host = match &self.host {
            HostRule::Any | HostRule::AnyPublic => true,
            HostRule::Only(host) => host_of(url).as_ref() == Some(host),
        };
        let port = self.host == HostRule::Any
            || self.host == HostRule::AnyPublic
            || self.port == url.port_or_known_default();
        self.scheme == url.scheme() && host && port && self.holds_path(url.path())
    }

    fn holds_path(&self, path: &str) -> bool {
        if self.path.is_empty() {
            return true;
        }
        // A server that decodes once more than we do must not be led out of the prefix.
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        if decoded.split(['/', '\\']).any(|part| part == "..") {
            return false;
        }
        path.strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The host in one way of writing it: small letters, no dot at its end.
fn host_of(url: &Url) -> Option<String> {
    let host = url.host()?.to_string().to_ascii_lowercase();
    let host = host.strip_suffix('.').map_or(host.clone(), str::to_owned);
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rules(allow: &[&str]) -> Rules {
        Rules::parse(&allow.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn allowed(allow: &[&str], url: &str) -> bool {
        rules(allow).allow_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn urls_that_only_look_like_the_prefix_are_denied() {
        let prefix = &["http://allowed.com/pub"];
        for url in [
            "http://allowed.com/pub",
            "http://allowed.com:80/pub/a.json",
            "http://ALLOWED.com./pub/a?x=1",
            "http://user:pw@allowed.com/pub/a",
        ] {
            assert!(allowed(prefix, url), "{url}");
        }
        for url in [
            "http://allowed.com@evil.com/pub/a",
            "http://allowed.com:80@evil.com/pub/a",
            "http://allowed.com.evil.com/pub/a",
            "http://allowed.com.:81/pub/a",
            "http://allowed.com:8080/pub/a",
            "https://allowed.com/pub/a",
            "http://allowed.com/public",
            "http://allowed.com/pub/../secret",
            "http://allowed.com/pub/%2e%2e/secret",
            "http://allowed.com/pub/..%2fsecret",
            "http://allowed.com/pub/..%5csecret",
            "http://evil.com/http://allowed.com/pub",
            "http://evil.com\\@allowed.com/pub/a",
            "http://evil.com#@allowed.com/pub/a",
            "http://evil.com?@allowed.com/pub/a",
            "ftp://allowed.com/pub/a",
        ] {
            assert!(!allowed(prefix, url), "{url}");
        }
    }

    #[test]
    fn a_private_address_is_denied_however_it_is_written_unless_it_is_listed() {
        let addresses = [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest/",
            "http://10.0.0.1/",
            "http://192.168.0.1/",
            "http://0.0.0.0/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
        ];
        for url in addresses {
            assert!(!allowed(&["http://*"], url), "{url}");
            assert!(!allowed(&["http://allowed.com/"], url), "{url}");
            assert!(!allowed(&[], url), "{url}");
        }
        for url in ["http://127.0.0.1/a", "http://2130706433/a", "http://0177.0.0.1/a"] {
            assert!(allowed(&["http://127.0.0.1/"], url), "{url}");
            assert!(allowed(&["http://*", "net:127.0.0.0/8"], url), "{url}");
            assert!(allowed(&["http://"], url), "{url}");
        }
        assert!(!allowed(&["http://"], "http://169.254.169.254/latest/"));
        assert!(allowed(
            &["http://", "http://169.254.169.254/"],
            "http://169.254.169.254/latest/"
        ));
        assert!(!allowed(&["http://127.0.0.1:8000/"], "http://127.0.0.1:22/"));
    }

    #[test]
    fn names_lead_to_private_addresses_only_where_those_are_listed() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let public: IpAddr = "93.184.216.34".parse().unwrap();
        for allow in [
            &["http://allowed.com/"][..],
            &["http://*"],
            &["http://127.0.0.1/", "http://allowed.com/"],
        ] {
            assert!(!rules(allow).allow_address("allowed.com", loopback), "{allow:?}");
            assert!(rules(allow).allow_address("allowed.com", public), "{allow:?}");
        }
        assert!(rules(&["http://allowed.com/", "net:127.0.0.1"]).allow_address("allowed.com", loopback));
        assert!(rules(&["http://localhost:80/"]).allow_address("localhost", loopback));
        assert!(!rules(&["http://localhost:80/"]).allow_address("allowed.com", loopback));
        assert!(rules(&["http://"]).allow_address("allowed.com", loopback));
    }

    #[test]
    fn other_stores_have_prefixes_too() {
        let prefix = &["s3://bucket/prefix"];
        assert!(allowed(prefix, "s3://bucket/prefix/a.json"));
        for url in [
            "s3://bucket/prefixed/a",
            "s3://bucket2/prefix/a",
            "s3://bucket/prefix/../a",
            "gs://bucket/prefix/a",
        ] {
            assert!(!allowed(prefix, url), "{url}");
        }
        assert!(allowed(&["s3://"], "s3://any/a"));
    }

    #[test]
    fn malformed_rules_are_named() {
        for rule in [
            "net:x",
            "http://u:geheim@h/",
            "http://h/?q",
            "local:",
            "http://[/",
        ] {
            let error = Rules::parse(&[rule.to_owned()]).unwrap_err().to_string();
            assert!(
                error.contains("--extern-allow") && !error.contains("geheim"),
                "{error}"
            );
        }
    }
}
