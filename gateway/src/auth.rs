//! Who asks, and what they may: authentication and authorisation of the HTTP API (Druid: druid-basic-security).
//!
//! [`guard`] stands before every route, and tells the audit log of what is refused ([`refusals`]). What users there are is the Overlord's to know; [`directory`] keeps a copy for a
//! second. [`identity`] answers what somebody may do, [`rules`] what a route needs.

mod credentials;
mod directory;
mod groups;
mod identity;
mod refusals;
mod rules;

use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use sarsen_kernel::secret::Secret;
use sarsen_proto::v1;

use crate::error::ApiError;
use crate::listener::Peer;
use crate::options::{AuthMode, HttpOptions};
use crate::service::App;

pub use credentials::{hash_password, new_token};
pub use directory::{Directory, pattern};
pub use identity::{Access, Identity, Resource};
pub use refusals::Refusals;
use rules::{Need, need};

/// How the gateway knows its users.
#[derive(Debug)]
pub struct Auth {
    mode: AuthMode,
    pub directory: Directory,
    checked: credentials::Checked,
    pub options: HttpOptions,
    pub refusals: Refusals,
}

/// What a request shows of its sender.
enum Shown {
    Nothing,
    Password {
        user: String,
        password: Secret,
    },
    Token(Secret),
    /// Something that cannot be read.
    Malformed,
}

impl Auth {
    pub fn new(options: HttpOptions) -> Auth {
        Auth {
            mode: options.auth,
            directory: Directory::default(),
            checked: credentials::Checked::default(),
            options,
            refusals: Refusals::new(Instant::now()),
        }
    }

    async fn identify(&self, app: &App, headers: &HeaderMap, remote: String) -> Result<Identity, ApiError> {
        if self.mode == AuthMode::None {
            return Ok(Identity::anybody(remote));
        }
        let shown = shown(headers);
        if matches!(shown, Shown::Nothing) {
            return Err(ApiError::Unauthenticated);
        }
        let directory = self.directory.current(app).await?;
        let found = match shown {
            Shown::Password { user, password } => {
                let known = directory.credentials(&user);
                let right = self.checked.password(&user, password, known).await;
                right.then(|| directory.identity(&user, &[], remote))
            }
            Shown::Token(token) => directory
                .token(&token)
                .map(|token| directory.identity(&token.identity, &token.groups, remote)),
            Shown::Nothing | Shown::Malformed => None,
        };
        found.ok_or(ApiError::WrongCredentials)
    }
}

/// Reads the Authorization header; a request with several of them shows nothing that can be believed.
fn shown(headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) {
            Shown::Malformed
        } else {
            Shown::Nothing
        };
    };
    let Some((scheme, given)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return Shown::Nothing;
    };
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Shown::Token(Secret::new(given));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Shown::Nothing;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(given)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        // RFC 7617 has none; and a password with zeros at its end would hash as one without.
        .filter(|decoded| !decoded.chars().any(char::is_control));
    match decoded.as_deref().and_then(|decoded| decoded.split_once(':')) {
        Some((user, password)) => Shown::Password {
            user: user.to_owned(),
            password: Secret::new(password),
        },
        None => Shown::Malformed,
    }
}

/// Stands before every route: tells who asks, and refuses what the route's rule does not allow.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let need = need(path.as_deref(), request.method());
    if need == Need::Nothing {
        return next.run(request).await;
    }
    let remote = request
        .extensions()
        .get::<ConnectInfo<Peer>>()
        .map_or_else(String::new, |ConnectInfo(Peer(address))| address.ip().to_string());
    let uri = request.uri().path().to_owned();
    let method = request.method().clone();
    let refused = |caller: v1::Caller, response: Response| {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let refusals = &app.auth.refusals;
            refusals.note(caller, method.as_str(), &uri, status.as_u16(), Instant::now());
        }
        response
    };
    let identity = match app.auth.identify(&app, request.headers(), remote.clone()).await {
        Ok(identity) => identity,
        Err(error) => {
            tracing::info!(target: "sarsen::audit", path = uri, remote, "a request without valid credentials");
            let nobody = v1::Caller {
                identity: String::new(),
                remote,
            };
            return refused(nobody, error.at(&uri).into_response());
        }
    };
    let caller = identity.caller();
    let need = match need {
        Need::Datasource => {
            let (mut parts, body) = request.into_parts();
            let named = named_datasource(&mut parts).await;
            request = Request::from_parts(parts, body);
            match named {
                Some(name) => Need::Right(Resource::Datasource(name)),
                None => Need::Right(Resource::State),
            }
        }
        need => need,
    };
    if let Need::Right(resource) = need
        && let Err(error) = identity.may(&resource, action(request.method()))
    {
        let response = match resource {
            // Druid's filter of these routes answers in words.
            Resource::Config(_) => error.in_words().into_response(),
            _ => error.into_response(),
        };
        return refused(caller, response);
    }
    request.extensions_mut().insert(identity);
    refused(caller, next.run(request).await)
}

/// The datasource in the path that a request was matched by.
async fn named_datasource(parts: &mut Parts) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let mut named = params.iter().filter(|(name, _)| *name == "datasource");
    named.next().map(|(_, value)| value.to_owned())
}

/// GET and HEAD read, all else writes.
pub fn action(method: &Method) -> Access {
    if method == Method::GET || method == Method::HEAD {
        Access::Read
    } else {
        Access::Write
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn passwords_may_hold_colons_and_are_not_shown() {
        let Shown::Password { user, password } = shown(&headers(&["Basic dTpnZTpoZWlt"])) else {
            panic!("a password is shown");
        };
        assert_eq!((user.as_str(), password.expose()), ("u", "ge:heim"));
        assert!(!format!("{password:?}").contains("heim"));
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        for values in [
            &["Basic dTpw", "Basic dTpw"][..],
            &["Basic !!!"],
            &["Basic dXA="],
            &["basic /w=="],
            &["Basic dTpwAA=="],
        ] {
            assert!(matches!(shown(&headers(values)), Shown::Malformed), "{values:?}");
        }
        for values in [&[][..], &["Negotiate abc"], &["Basic"]] {
            assert!(matches!(shown(&headers(values)), Shown::Nothing), "{values:?}");
        }
    }
}
