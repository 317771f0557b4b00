//! Users, roles and tokens: what a change makes of them. Pure; refusals are in the words of Druid's metadata updaters
//! (druid-basic-security, CoordinatorBasicAuthenticatorMetadataStorageUpdater and -AuthorizerMetadataStorageUpdater).

use std::num::NonZeroU32;

use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use sarsen_kernel::secret::Secret;
use sarsen_proto::v1;
use sarsen_proto::v1::change_security_request::Change;

/// The user and the role that may do everything.
pub const ADMIN: &str = "admin";

/// Types of resources (Druid: operations/security-user-auth.md).
pub const RESOURCE_TYPES: [&str; 7] = [
    "DATASOURCE",
    "VIEW",
    "CONFIG",
    "STATE",
    "SYSTEM_TABLE",
    "QUERY_CONTEXT",
    "EXTERNAL",
];

/// Rounds of PBKDF2 for a new password, as Druid's `credentialIterations`.
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(10_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

/// Bytes of a salt and of a hash.
const SALT: usize = 32;
const HASH: usize = 64;

/// Applies one change.
///
/// # Errors
/// What Druid says when the change contradicts what there is.
pub fn apply(state: &mut v1::SecurityState, change: Change) -> Result<(), String> {
    match change {
        Change::CreateAuthenticatorUser(name) => {
            absent(authenticator_user(state, &name), "User", &name)?;
            state.authenticator_users.push(v1::AuthenticatorUser {
                name,
                credentials: None,
            });
        }
        Change::DeleteAuthenticatorUser(name) => {
            present(authenticator_user(state, &name), "User", &name)?;
            state.authenticator_users.retain(|user| user.name != name);
            state.tokens.retain(|token| token.identity != name);
        }
        Change::SetCredentials(given) => {
            let user = present(authenticator_user(state, &given.name), "User", &given.name)?;
            user.credentials = given.credentials;
        }
        Change::CreateUser(name) => {
            absent(user(state, &name), "User", &name)?;
            state.users.push(v1::AuthorizerUser {
                name,
                roles: Vec::new(),
            });
        }
        Change::DeleteUser(name) => {
            present(user(state, &name), "User", &name)?;
            state.users.retain(|user| user.name != name);
            state.tokens.retain(|token| token.identity != name);
        }
        Change::CreateGroupMapping(mapping) => {
            absent(
                group_mapping(state, &mapping.name),
                "Group mapping",
                &mapping.name,
            )?;
            state.group_mappings.push(mapping);
        }
        Change::DeleteGroupMapping(name) => {
            present(group_mapping(state, &name), "Group mapping", &name)?;
            state.group_mappings.retain(|mapping| mapping.name != name);
        }
        Change::CreateRole(name) => {
            absent(role(state, &name), "Role", &name)?;
            state.roles.push(v1::AuthorizerRole {
                name,
                permissions: Vec::new(),
            });
        }
        Change::DeleteRole(name) => delete_role(state, &name)?,
        Change::AssignUserRole(member) => {
            present(role(state, &member.role), "Role", &member.role)?;
            let user = present(user(state, &member.name), "User", &member.name)?;
            assign("User", &mut user.roles, member)?;
        }
        Change::UnassignUserRole(member) => {
            present(role(state, &member.role), "Role", &member.role)?;
            let user = present(user(state, &member.name), "User", &member.name)?;
            unassign("User", &mut user.roles, &member)?;
        }
        Change::AssignGroupMappingRole(member) => {
            present(role(state, &member.role), "Role", &member.role)?;
            let mapping = present(group_mapping(state, &member.name), "Group mapping", &member.name)?;
            assign("Group mapping", &mut mapping.roles, member)?;
        }
        Change::UnassignGroupMappingRole(member) => {
            present(role(state, &member.role), "Role", &member.role)?;
            let mapping = present(group_mapping(state, &member.name), "Group mapping", &member.name)?;
            unassign("Group mapping", &mut mapping.roles, &member)?;
        }
        Change::SetPermissions(given) => {
            present(role(state, &given.name), "Role", &given.name)?.permissions = given.permissions;
        }
        Change::CreateToken(token) => {
            absent(
                state.tokens.iter_mut().find(|known| known.id == token.id),
                "Token",
                &token.id,
            )?;
            state.tokens.push(token);
        }
        Change::DeleteToken(id) => {
            present(state.tokens.iter_mut().find(|known| known.id == id), "Token", &id)?;
            state.tokens.retain(|token| token.id != id);
        }
    }
    state.version += 1;
    Ok(())
}

fn delete_role(state: &mut v1::SecurityState, name: &str) -> Result<(), String> {
    present(role(state, name), "Role", name)?;
    state.roles.retain(|role| role.name != name);
    for user in &mut state.users {
        user.roles.retain(|role| role != name);
    }
    for mapping in &mut state.group_mappings {
        mapping.roles.retain(|role| role != name);
    }
    Ok(())
}

fn authenticator_user<'a>(
    state: &'a mut v1::SecurityState,
    name: &str,
) -> Option<&'a mut v1::AuthenticatorUser> {
    state
        .authenticator_users
        .iter_mut()
        .find(|user| user.name == name)
}

fn user<'a>(state: &'a mut v1::SecurityState, name: &str) -> Option<&'a mut v1::AuthorizerUser> {
    state.users.iter_mut().find(|user| user.name == name)
}

fn group_mapping<'a>(state: &'a mut v1::SecurityState, name: &str) -> Option<&'a mut v1::GroupMapping> {
    state
        .group_mappings
        .iter_mut()
        .find(|mapping| mapping.name == name)
}

fn role<'a>(state: &'a mut v1::SecurityState, name: &str) -> Option<&'a mut v1::AuthorizerRole> {
    state.roles.iter_mut().find(|role| role.name == name)
}

fn absent<T>(found: Option<T>, kind: &str, name: &str) -> Result<(), String> {
    match found {
        Some(_) => Err(format!("{kind} [{name}] already exists.")),
        None => Ok(()),
    }
}

fn present<T>(found: Option<T>, kind: &str, name: &str) -> Result<T, String> {
    found.ok_or_else(|| format!("{kind} [{name}] does not exist."))
}

fn assign(kind: &str, roles: &mut Vec<String>, member: v1::RoleMember) -> Result<(), String> {
    if roles.contains(&member.role) {
        return Err(format!(
            "{kind} [{}] already has role [{}].",
            member.name, member.role
        ));
    }
    roles.push(member.role);
    Ok(())
}

fn unassign(kind: &str, roles: &mut Vec<String>, member: &v1::RoleMember) -> Result<(), String> {
    if !roles.contains(&member.role) {
        return Err(format!(
            "{kind} [{}] does not have role [{}].",
            member.name, member.role
        ));
    }
    roles.retain(|role| *role != member.role);
    Ok(())
}

/// Makes sure that there is an administrator; one that is there keeps the password. Answers whether anything changed.
///
/// # Errors
/// When there is no randomness.
pub fn ensure_admin(state: &mut v1::SecurityState, password: &Secret) -> Result<bool, String> {
    let before = state.clone();
    if role(state, ADMIN).is_none() {
        state.roles.push(v1::AuthorizerRole {
            name: ADMIN.to_owned(),
            permissions: everything(),
        });
    }
    if user(state, ADMIN).is_none() {
        state.users.push(v1::AuthorizerUser {
            name: ADMIN.to_owned(),
            roles: vec![ADMIN.to_owned()],
        });
    }
    if authenticator_user(state, ADMIN).is_none() {
        state.authenticator_users.push(v1::AuthenticatorUser {
            name: ADMIN.to_owned(),
            credentials: Some(hashed(password)?),
        });
    }
    let changed = *state != before;
    state.version += u64::from(changed);
    Ok(changed)
}

fn everything() -> Vec<v1::Permission> {
    let both = |resource_type: &&str| {
        ["READ", "WRITE"].map(|action| v1::Permission {
            resource_name: ".*".to_owned(),
            resource_type: (*resource_type).to_owned(),
            action: action.to_owned(),
        })
    };
    RESOURCE_TYPES.iter().flat_map(both).collect()
}

fn hashed(password: &Secret) -> Result<v1::Credentials, String> {
    let mut salt = [0; SALT];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| "the system gives no random bytes".to_owned())?;
    let mut hash = [0; HASH];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA512,
        ITERATIONS,
        &salt,
        password.expose().as_bytes(),
        &mut hash,
    );
    Ok(v1::Credentials {
        salt: salt.to_vec().into(),
        hash: hash.to_vec().into(),
        iterations: ITERATIONS.get(),
    })
}

/// A change in words, for the audit log: whom it is about, without anything secret.
pub fn describe(change: &Change) -> (&'static str, String) {
    let member = |member: &v1::RoleMember| format!("{} role {}", member.name, member.role);
    match change {
        Change::CreateAuthenticatorUser(name) => ("createAuthenticatorUser", name.clone()),
        Change::DeleteAuthenticatorUser(name) => ("deleteAuthenticatorUser", name.clone()),
        Change::SetCredentials(user) => ("setCredentials", user.name.clone()),
        Change::CreateUser(name) => ("createUser", name.clone()),
        Change::DeleteUser(name) => ("deleteUser", name.clone()),
        Change::CreateGroupMapping(mapping) => ("createGroupMapping", mapping.name.clone()),
        Change::DeleteGroupMapping(name) => ("deleteGroupMapping", name.clone()),
        Change::CreateRole(name) => ("createRole", name.clone()),
        Change::DeleteRole(name) => ("deleteRole", name.clone()),
        Change::AssignUserRole(given) => ("assignUserRole", member(given)),
        Change::UnassignUserRole(given) => ("unassignUserRole", member(given)),
        Change::AssignGroupMappingRole(given) => ("assignGroupMappingRole", member(given)),
        Change::UnassignGroupMappingRole(given) => ("unassignGroupMappingRole", member(given)),
        Change::SetPermissions(role) => {
            let permissions: Vec<String> = role
                .permissions
                .iter()
                .map(|p| format!("{} {} [{}]", p.action, p.resource_type, p.resource_name))
                .collect();
            (
                "setPermissions",
                format!("{}: {}", role.name, permissions.join(", ")),
            )
        }
        Change::CreateToken(token) => ("createToken", format!("{} of {}", token.id, token.identity)),
        Change::DeleteToken(id) => ("deleteToken", id.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn member(name: &str, role: &str) -> v1::RoleMember {
        v1::RoleMember {
            name: name.to_owned(),
            role: role.to_owned(),
        }
    }

    #[test]
    fn changes_that_contradict_what_there_is_are_refused_in_druids_words() {
        let mut state = v1::SecurityState::default();
        let mut refused = |change: Change| apply(&mut state, change).err().unwrap_or_default();
        assert_eq!(refused(Change::CreateUser("a".into())), "");
        assert_eq!(
            refused(Change::CreateUser("a".into())),
            "User [a] already exists."
        );
        assert_eq!(
            refused(Change::DeleteUser("b".into())),
            "User [b] does not exist."
        );
        assert_eq!(
            refused(Change::AssignUserRole(member("a", "r"))),
            "Role [r] does not exist."
        );
        assert_eq!(refused(Change::CreateRole("r".into())), "");
        assert_eq!(
            refused(Change::UnassignUserRole(member("a", "r"))),
            "User [a] does not have role [r]."
        );
        assert_eq!(refused(Change::AssignUserRole(member("a", "r"))), "");
        assert_eq!(
            refused(Change::AssignUserRole(member("a", "r"))),
            "User [a] already has role [r]."
        );
        assert_eq!(
            refused(Change::AssignUserRole(member("x", "r"))),
            "User [x] does not exist."
        );
        assert_eq!(
            refused(Change::AssignGroupMappingRole(member("g", "r"))),
            "Group mapping [g] does not exist."
        );
        let unknown = v1::AuthenticatorUser {
            name: "a".into(),
            credentials: None,
        };
        assert_eq!(
            refused(Change::SetCredentials(unknown)),
            "User [a] does not exist."
        );
    }

    #[test]
    fn a_deleted_role_leaves_its_users_and_group_mappings() {
        let mut state = v1::SecurityState::default();
        for change in [
            Change::CreateUser("a".into()),
            Change::CreateRole("r".into()),
            Change::CreateGroupMapping(v1::GroupMapping {
                name: "g".into(),
                ..Default::default()
            }),
            Change::AssignUserRole(member("a", "r")),
            Change::AssignGroupMappingRole(member("g", "r")),
            Change::DeleteRole("r".into()),
        ] {
            apply(&mut state, change).unwrap();
        }
        assert!(state.users.iter().all(|user| user.roles.is_empty()));
        assert!(
            state
                .group_mappings
                .iter()
                .all(|mapping| mapping.roles.is_empty())
        );
        assert_eq!(state.version, 6);
    }

    #[test]
    fn the_tokens_of_a_deleted_user_go_with_the_user() {
        for deleted in [
            Change::DeleteUser("a".into()),
            Change::DeleteAuthenticatorUser("a".into()),
        ] {
            let mut state = v1::SecurityState::default();
            let token = |id: &str, identity: &str| {
                Change::CreateToken(v1::BearerToken {
                    id: id.into(),
                    identity: identity.into(),
                    ..Default::default()
                })
            };
            for change in [
                Change::CreateUser("a".into()),
                Change::CreateAuthenticatorUser("a".into()),
                token("1", "a"),
                token("2", "b"),
                deleted,
            ] {
                apply(&mut state, change).unwrap();
            }
            let left: Vec<&str> = state.tokens.iter().map(|token| token.id.as_str()).collect();
            assert_eq!(left, ["2"]);
        }
    }

    #[test]
    fn an_administrator_that_is_there_keeps_the_password() {
        let mut state = v1::SecurityState::default();
        assert!(ensure_admin(&mut state, &Secret::new("first")).unwrap());
        let before = state.clone();
        assert!(!ensure_admin(&mut state, &Secret::new("second")).unwrap());
        assert_eq!(state, before);
        assert_eq!(state.roles.first().unwrap().permissions.len(), 14);
    }
}
