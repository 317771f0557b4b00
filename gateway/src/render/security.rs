//! Users, roles and group mappings in Druid's JSON (extensions-core/druid-basic-security.md). Hashes are not shown.

use sarsen_proto::v1;
use serde_json::{Value, json};

/// How much is told.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    /// `?full`: what is referred to as well.
    pub full: bool,
    /// `?simplifyPermissions`: permissions as they are given.
    pub simplified: bool,
}

/// A permission with its pattern.
pub fn permission(permission: &v1::Permission) -> Value {
    json!({
        "resourceAction": resource_action(permission),
        "resourceNamePattern": permission.resource_name,
    })
}

fn resource_action(permission: &v1::Permission) -> Value {
    json!({
        "resource": { "name": permission.resource_name, "type": permission.resource_type },
        "action": permission.action,
    })
}

fn permissions(role: &v1::AuthorizerRole, detail: Detail) -> Vec<Value> {
    let shown = if detail.simplified {
        resource_action
    } else {
        permission
    };
    role.permissions.iter().map(shown).collect()
}

/// What is kept of a password stays with the Overlord.
pub fn authenticator_user(user: &v1::AuthenticatorUser) -> Value {
    let credentials = user.credentials.as_ref();
    json!({
        "name": user.name,
        "credentials": credentials.map(|credentials| json!({ "iterations": credentials.iterations })),
    })
}

/// A user with the names of the roles, or with the roles themselves.
pub fn user(state: &v1::SecurityState, name: &str, detail: Detail) -> Option<Value> {
    let user = state.users.iter().find(|user| user.name == name)?;
    let roles = if detail.full {
        json!(full_roles(state, &user.roles, detail))
    } else {
        json!(user.roles)
    };
    Some(json!({ "name": user.name, "roles": roles }))
}

fn full_roles(state: &v1::SecurityState, names: &[String], detail: Detail) -> Vec<Value> {
    let roles = state.roles.iter().filter(|role| names.contains(&role.name));
    roles.map(|role| plain_role(role, detail)).collect()
}

fn plain_role(role: &v1::AuthorizerRole, detail: Detail) -> Value {
    let permissions = permissions(role, detail);
    if detail.simplified {
        json!({ "name": role.name, "users": null, "permissions": permissions })
    } else {
        json!({ "name": role.name, "permissions": permissions })
    }
}

pub fn group_mapping(state: &v1::SecurityState, name: &str, detail: Detail) -> Option<Value> {
    let mapping = state.group_mappings.iter().find(|mapping| mapping.name == name)?;
    Some(if detail.full {
        let roles = full_roles(
            state,
            &mapping.roles,
            Detail {
                simplified: false,
                ..detail
            },
        );
        json!({ "name": mapping.name, "roles": roles })
    } else {
        json!({ "name": mapping.name, "groupPattern": mapping.group_pattern, "roles": mapping.roles })
    })
}

/// A role with its permissions, or with who has it too.
pub fn role(state: &v1::SecurityState, name: &str, detail: Detail) -> Option<Value> {
    let role = state.roles.iter().find(|role| role.name == name)?;
    if !detail.full {
        return Some(plain_role(role, detail));
    }
    let has = |roles: &[String]| roles.iter().any(|role| role == name);
    let users: Vec<&String> = state
        .users
        .iter()
        .filter(|user| has(&user.roles))
        .map(|user| &user.name)
        .collect();
    let groups: Vec<&String> = state
        .group_mappings
        .iter()
        .filter(|mapping| has(&mapping.roles))
        .map(|mapping| &mapping.name)
        .collect();
    let permissions = permissions(role, detail);
    Some(if detail.simplified {
        json!({ "name": role.name, "users": users, "permissions": permissions })
    } else {
        json!({ "name": role.name, "users": users, "groups": groups, "permissions": permissions })
    })
}

/// Ours: a token without its secret.
pub fn token(token: &v1::BearerToken) -> Value {
    json!({
        "id": token.id,
        "identity": token.identity,
        "groups": token.groups,
        "created": super::iso(token.created_ms),
        "expires": (token.expires_ms != 0).then(|| super::iso(token.expires_ms)),
    })
}
