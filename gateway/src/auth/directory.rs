//! The users, roles and tokens that the Overlord keeps, as a gateway looks them up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regex::Regex;
use sarsen_kernel::secret::Secret;
use sarsen_proto::v1;
use tokio::sync::Mutex;

use super::identity::Identity;
use super::{credentials, groups};
use crate::error::ApiError;
use crate::service::App;

/// How long a copy is believed without asking whether it changed.
const FRESH: Duration = Duration::from_secs(1);

/// How long while the Overlord is away.
const STALE: Duration = Duration::from_secs(60);

/// A copy of what the Overlord knows.
#[derive(Debug, Default)]
pub struct Directory {
    copy: Mutex<Option<Copy>>,
}

#[derive(Debug)]
struct Copy {
    users: Arc<Users>,
    asked: Instant,
}

impl Directory {
    /// The users as they were a second ago at most.
    ///
    /// # Errors
    /// A 503 when the Overlord is away for long.
    pub async fn current(&self, app: &App) -> Result<Arc<Users>, ApiError> {
        let mut copy = self.copy.lock().await;
        if let Some(copy) = copy.as_ref().filter(|copy| copy.asked.elapsed() < FRESH) {
            return Ok(Arc::clone(&copy.users));
        }
        let known_version = copy.as_ref().map_or(u64::MAX, |copy| copy.users.state.version);
        let mut overlord = app.overlord()?;
        let answer = overlord
            .get_security(v1::GetSecurityRequest { known_version })
            .await;
        let answer = match (answer, copy.as_ref()) {
            (Ok(answer), _) => answer.into_inner(),
            (Err(status), Some(copy)) if copy.asked.elapsed() < STALE => {
                tracing::warn!(%status, "the Overlord is away, users are those of a while ago");
                return Ok(Arc::clone(&copy.users));
            }
            (Err(status), _) => return Err(ApiError::of_status(&status, "")),
        };
        let users = match (answer.state, copy.as_ref()) {
            (None, Some(copy)) => Arc::clone(&copy.users),
            (state, _) => Arc::new(Users::new(state.unwrap_or_default())),
        };
        *copy = Some(Copy {
            users: Arc::clone(&users),
            asked: Instant::now(),
        });
        Ok(users)
    }

    /// Asks anew the next time: something has changed.
    pub async fn forget(&self) {
        *self.copy.lock().await = None;
    }
}

/// A role with its patterns compiled.
#[derive(Debug)]
pub struct Role {
    permissions: Vec<(v1::Permission, Regex)>,
}

impl Role {
    fn new(role: &v1::AuthorizerRole) -> Role {
        let compiled =
            |permission: &v1::Permission| Some((permission.clone(), pattern(&permission.resource_name)?));
        Role {
            permissions: role.permissions.iter().filter_map(compiled).collect(),
        }
    }

    pub fn allows(&self, resource_type: &str, name: &str, action: &str) -> bool {
        self.permissions.iter().any(|(permission, pattern)| {
            permission.action == action && permission.resource_type == resource_type && pattern.is_match(name)
        })
    }
}

/// A pattern for a whole name; `None` when it is no regular expression.
pub fn pattern(text: &str) -> Option<Regex> {
    // By itself first: `a)(b` would compile within the group.
    Regex::new(text).ok()?;
    Regex::new(&format!(r"\A(?:{text})\z")).ok()
}

/// Everything about users, indexed.
#[derive(Debug, Default)]
pub struct Users {
    pub state: v1::SecurityState,
    roles: HashMap<String, Arc<Role>>,
}

impl Users {
    pub(super) fn new(state: v1::SecurityState) -> Users {
        let role = |role: &v1::AuthorizerRole| (role.name.clone(), Arc::new(Role::new(role)));
        Users {
            roles: state.roles.iter().map(role).collect(),
            state,
        }
    }

    pub(super) fn credentials(&self, user: &str) -> Option<v1::Credentials> {
        let mut users = self.state.authenticator_users.iter();
        users.find(|known| known.name == user)?.credentials.clone()
    }

    /// The token that somebody bears, if it is one of ours and has not expired.
    pub(super) fn token(&self, token: &Secret) -> Option<&v1::BearerToken> {
        let id = credentials::token_id(token)?;
        let known = self.state.tokens.iter().find(|known| known.id == id)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(i64::MAX, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            });
        let expired = known.expires_ms != 0 && known.expires_ms <= now;
        (credentials::is_token(token, &known.sha256) && !expired).then_some(known)
    }

    /// A user with the roles of their own and of the groups that they are in.
    pub(super) fn identity(&self, user: &str, user_groups: &[String], remote: String) -> Identity {
        let own = self
            .state
            .users
            .iter()
            .filter(|known| known.name == user)
            .flat_map(|known| &known.roles);
        let mapped = self
            .state
            .group_mappings
            .iter()
            .filter(|mapping| {
                user_groups
                    .iter()
                    .any(|group| groups::matches(&mapping.group_pattern, group))
            })
            .flat_map(|mapping| &mapping.roles);
        let roles = own.chain(mapped).filter_map(|role| self.roles.get(role).cloned());
        Identity::with_roles(user.to_owned(), remote, roles.collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::{Access, Resource};

    fn users() -> Users {
        let permission = |name: &str, kind: &str, action: &str| v1::Permission {
            resource_name: name.to_owned(),
            resource_type: kind.to_owned(),
            action: action.to_owned(),
        };
        Users::new(v1::SecurityState {
            users: vec![v1::AuthorizerUser {
                name: "a".into(),
                roles: vec!["wiki".into(), "gone".into()],
            }],
            group_mappings: vec![v1::GroupMapping {
                name: "g".into(),
                group_pattern: "etl".into(),
                roles: vec!["etl".into()],
            }],
            roles: vec![
                v1::AuthorizerRole {
                    name: "wiki".into(),
                    permissions: vec![
                        permission("wiki.*|b", "DATASOURCE", "READ"),
                        permission("[", "DATASOURCE", "READ"),
                    ],
                },
                v1::AuthorizerRole {
                    name: "etl".into(),
                    permissions: vec![permission("x", "DATASOURCE", "WRITE")],
                },
            ],
            ..Default::default()
        })
    }

    #[test]
    fn a_permission_is_for_whole_names_one_type_and_one_action() {
        let identity = users().identity("a", &[], String::new());
        let can = |name: &str, access| identity.can(&Resource::Datasource(name.to_owned()), access);
        assert!(can("wiki", Access::Read) && can("wiki2", Access::Read) && can("b", Access::Read));
        for name in ["mywiki", "bb", "", "wiki\n", "x\nwiki"] {
            assert!(!can(name, Access::Read), "{name:?}");
        }
        assert!(!can("wiki", Access::Write));
        assert!(!identity.can(&Resource::External("wiki".to_owned()), Access::Read));
        assert!(!identity.can(&Resource::State, Access::Read));
    }

    #[test]
    fn groups_give_roles_to_whoever_is_in_them() {
        let users = users();
        let can = |groups: &[String]| {
            users
                .identity("a", groups, String::new())
                .can(&Resource::Datasource("x".to_owned()), Access::Write)
        };
        assert!(can(&["etl".to_owned()]) && !can(&["etl2".to_owned()]) && !can(&[]));
        let unknown = users.identity("nobody", &[], String::new());
        assert!(!unknown.can_read_datasource("wiki"));
    }

    #[test]
    fn patterns_cannot_break_out_of_their_group() {
        for text in ["a)(b", "a)|(.*", "(", "(?=a)"] {
            assert!(pattern(text).is_none(), "{text}");
        }
        assert!(pattern("a|b").unwrap().is_match("b") && !pattern("a|b").unwrap().is_match("ab"));
    }
}
