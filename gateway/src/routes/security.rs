//! `/druid-ext/basic-security/…`: users, roles and group mappings as Druid manages them (druid-basic-security,
//! BasicAuthenticatorResource and BasicAuthorizerResource), and `/druid-ext/sarsen/tokens` for bearer tokens, which Druid
//! has not. The guard has asked for the right to CONFIG `security` before.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sarsen_kernel::secret::Secret;
use sarsen_proto::v1;
use sarsen_proto::v1::change_security_request::Change;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::auth::{Identity, hash_password, new_token};
use crate::error::{ApiError, json_response};
use crate::render::security as render;
use crate::service::App;

/// What is the matter, in Druid's shape.
fn refuse(message: impl Into<String>) -> ApiError {
    ApiError::Failed {
        status: StatusCode::BAD_REQUEST,
        body: json!({ "error": message.into() }),
    }
}

fn check_authenticator(app: &App, name: &str) -> Result<(), ApiError> {
    if app.auth.options.authenticator_name == name {
        return Ok(());
    }
    Err(refuse(format!(
        "Basic authenticator with name [{name}] does not exist."
    )))
}

fn check_authorizer(app: &App, name: &str) -> Result<(), ApiError> {
    if app.auth.options.authorizer_name == name {
        return Ok(());
    }
    Err(refuse(format!(
        "Basic authorizer with name [{name}] does not exist."
    )))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    // Its place, and not what it quotes: that may be a password.
    serde_json::from_slice(body).map_err(|error| {
        refuse(format!(
            "The body cannot be read: see line {} column {}.",
            error.line(),
            error.column()
        ))
    })
}

/// What the Overlord has, now.
async fn state(app: &App) -> Result<v1::SecurityState, ApiError> {
    let request = v1::GetSecurityRequest {
        known_version: u64::MAX,
    };
    let answer = app.overlord()?.get_security(request).await;
    let answer = answer.map_err(|status| ApiError::of_status(&status, ""))?;
    Ok(answer.into_inner().state.unwrap_or_default())
}

async fn change(app: &App, identity: &Identity, change: Change) -> Result<Response, ApiError> {
    let request = v1::ChangeSecurityRequest {
        caller: Some(identity.caller()),
        change: Some(change),
    };
    let changed = app.overlord()?.change_security(request).await;
    app.auth.directory.forget().await;
    match changed {
        Ok(_) => Ok(StatusCode::OK.into_response()),
        Err(status) if status.code() == tonic::Code::FailedPrecondition => Err(refuse(status.message())),
        Err(status) => Err(ApiError::of_status(&status, "")),
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Response {
    let names: BTreeSet<&String> = names.collect();
    json_response(StatusCode::OK, &json!(names))
}

pub async fn authentication_status(State(app): State<App>) -> Response {
    json_response(
        StatusCode::OK,
        &json!({ app.auth.options.authenticator_name.clone(): true }),
    )
}

pub async fn authorization_status(State(app): State<App>) -> Response {
    json_response(
        StatusCode::OK,
        &json!({ app.auth.options.authorizer_name.clone(): true }),
    )
}

pub async fn refresh_all(State(app): State<App>) -> Response {
    app.auth.directory.forget().await;
    StatusCode::OK.into_response()
}

pub async fn authenticator_users(
    State(app): State<App>,
    Path(authenticator): Path<String>,
) -> Result<Response, ApiError> {
    check_authenticator(&app, &authenticator)?;
    let state = state(&app).await?;
    Ok(names(state.authenticator_users.iter().map(|user| &user.name)))
}

type Named = Path<(String, String)>;

pub async fn authenticator_user(
    State(app): State<App>,
    Path((authenticator, name)): Named,
) -> Result<Response, ApiError> {
    check_authenticator(&app, &authenticator)?;
    let state = state(&app).await?;
    let user = state.authenticator_users.iter().find(|user| user.name == name);
    let user = user.ok_or_else(|| refuse(format!("User [{name}] does not exist.")))?;
    Ok(json_response(StatusCode::OK, &render::authenticator_user(user)))
}

pub async fn create_authenticator_user(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authenticator, name)): Named,
) -> Result<Response, ApiError> {
    check_authenticator(&app, &authenticator)?;
    if name.contains(':') || name.chars().any(char::is_control) {
        return Err(refuse("A user's name has neither colons nor control characters."));
    }
    change(&app, &identity, Change::CreateAuthenticatorUser(name)).await
}

pub async fn delete_authenticator_user(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authenticator, name)): Named,
) -> Result<Response, ApiError> {
    check_authenticator(&app, &authenticator)?;
    change(&app, &identity, Change::DeleteAuthenticatorUser(name)).await
}

#[derive(Deserialize)]
struct CredentialUpdate {
    password: String,
    iterations: Option<i64>,
}

pub async fn set_credentials(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authenticator, name)): Named,
    body: Bytes,
) -> Result<Response, ApiError> {
    check_authenticator(&app, &authenticator)?;
    let update: CredentialUpdate = read(&body)?;
    let password = Secret::new(update.password);
    let hashed = tokio::task::spawn_blocking(move || hash_password(&password, update.iterations)).await;
    let credentials = hashed
        .map_err(|_| ApiError::Internal {
            message: "a password could not be hashed".to_owned(),
        })?
        .map_err(refuse)?;
    let user = v1::AuthenticatorUser {
        name,
        credentials: Some(credentials),
    };
    change(&app, &identity, Change::SetCredentials(user)).await
}

/// Flags of Druid's queries: they are set by being there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flags {
    full: Option<String>,
    simplify_permissions: Option<String>,
}

impl Flags {
    fn detail(&self) -> render::Detail {
        // Druid's page writes `?full?simplifyPermissions`.
        let full = self.full.is_some();
        let simplified = self.simplify_permissions.is_some()
            || self
                .full
                .as_deref()
                .is_some_and(|full| full.contains("simplifyPermissions"));
        render::Detail { full, simplified }
    }
}

pub async fn users(State(app): State<App>, Path(authorizer): Path<String>) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    Ok(names(state.users.iter().map(|user| &user.name)))
}

pub async fn user(
    State(app): State<App>,
    Path((authorizer, name)): Named,
    Query(flags): Query<Flags>,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    let body = render::user(&state, &name, flags.detail());
    let body = body.ok_or_else(|| refuse(format!("User [{name}] does not exist.")))?;
    Ok(json_response(StatusCode::OK, &body))
}

pub async fn create_user(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(&app, &identity, Change::CreateUser(name)).await
}

pub async fn delete_user(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(&app, &identity, Change::DeleteUser(name)).await
}

pub async fn group_mappings(
    State(app): State<App>,
    Path(authorizer): Path<String>,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    Ok(names(state.group_mappings.iter().map(|mapping| &mapping.name)))
}

pub async fn group_mapping(
    State(app): State<App>,
    Path((authorizer, name)): Named,
    Query(flags): Query<Flags>,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    let body = render::group_mapping(&state, &name, flags.detail());
    let body = body.ok_or_else(|| refuse(format!("Group mapping [{name}] does not exist.")))?;
    Ok(json_response(StatusCode::OK, &body))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupMapping {
    group_pattern: String,
    #[serde(default)]
    roles: Option<BTreeSet<String>>,
}

pub async fn create_group_mapping(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
    body: Bytes,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let mapping: GroupMapping = read(&body)?;
    let mapping = v1::GroupMapping {
        name,
        group_pattern: mapping.group_pattern,
        roles: mapping.roles.unwrap_or_default().into_iter().collect(),
    };
    change(&app, &identity, Change::CreateGroupMapping(mapping)).await
}

pub async fn delete_group_mapping(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(&app, &identity, Change::DeleteGroupMapping(name)).await
}

pub async fn roles(State(app): State<App>, Path(authorizer): Path<String>) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    Ok(names(state.roles.iter().map(|role| &role.name)))
}

pub async fn role(
    State(app): State<App>,
    Path((authorizer, name)): Named,
    Query(flags): Query<Flags>,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    let body = render::role(&state, &name, flags.detail());
    let body = body.ok_or_else(|| refuse(format!("Role [{name}] does not exist.")))?;
    Ok(json_response(StatusCode::OK, &body))
}

pub async fn create_role(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(&app, &identity, Change::CreateRole(name)).await
}

pub async fn delete_role(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(&app, &identity, Change::DeleteRole(name)).await
}

type Member = Path<(String, String, String)>;

pub async fn assign_user_role(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name, role)): Member,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(
        &app,
        &identity,
        Change::AssignUserRole(v1::RoleMember { name, role }),
    )
    .await
}

pub async fn unassign_user_role(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name, role)): Member,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(
        &app,
        &identity,
        Change::UnassignUserRole(v1::RoleMember { name, role }),
    )
    .await
}

pub async fn assign_group_mapping_role(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name, role)): Member,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(
        &app,
        &identity,
        Change::AssignGroupMappingRole(v1::RoleMember { name, role }),
    )
    .await
}

pub async fn unassign_group_mapping_role(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name, role)): Member,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    change(
        &app,
        &identity,
        Change::UnassignGroupMappingRole(v1::RoleMember { name, role }),
    )
    .await
}

pub async fn permissions(
    State(app): State<App>,
    Path((authorizer, name)): Named,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let state = state(&app).await?;
    let role = state.roles.iter().find(|role| role.name == name);
    let role = role.ok_or_else(|| refuse(format!("Role [{name}] does not exist.")))?;
    let permissions: Vec<Value> = role.permissions.iter().map(render::permission).collect();
    Ok(json_response(StatusCode::OK, &Value::Array(permissions)))
}

#[derive(Deserialize)]
struct ResourceAction {
    resource: NamedResource,
    action: String,
}

#[derive(Deserialize)]
struct NamedResource {
    name: String,
    #[serde(rename = "type")]
    resource_type: String,
}

pub async fn set_permissions(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((authorizer, name)): Named,
    body: Bytes,
) -> Result<Response, ApiError> {
    check_authorizer(&app, &authorizer)?;
    let given: Vec<ResourceAction> = read(&body)?;
    let permissions = given.into_iter().map(permission).collect::<Result<_, _>>()?;
    let role = v1::AuthorizerRole { name, permissions };
    change(&app, &identity, Change::SetPermissions(role)).await
}

fn permission(given: ResourceAction) -> Result<v1::Permission, ApiError> {
    let name = given.resource.name;
    if crate::auth::pattern(&name).is_none() {
        return Err(refuse(format!(
            "Invalid permission, resource name regex[{name}] does not compile."
        )));
    }
    let action = given.action.to_ascii_uppercase();
    if !matches!(action.as_str(), "READ" | "WRITE") {
        return Err(refuse(format!(
            "Invalid permission, action [{}] is neither READ nor WRITE.",
            given.action
        )));
    }
    Ok(v1::Permission {
        resource_name: name,
        resource_type: given.resource.resource_type,
        action,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    identity: String,
    #[serde(default)]
    groups: Vec<String>,
    expires_in_seconds: Option<i64>,
}

/// The token is told once; only its hash is kept.
pub async fn create_token(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let given: NewToken = read(&body)?;
    if given.identity.is_empty() || given.expires_in_seconds.is_some_and(|seconds| seconds <= 0) {
        return Err(refuse(
            "A token has an [identity], and expires later than now if at all.",
        ));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (secret, sha256) = new_token(&id).map_err(|message| ApiError::Internal { message })?;
    let created_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let lifetime_ms = given
        .expires_in_seconds
        .map(|seconds| seconds.saturating_mul(1000));
    let token = v1::BearerToken {
        id: id.clone(),
        identity: given.identity,
        groups: given.groups,
        sha256: sha256.into(),
        created_ms,
        expires_ms: lifetime_ms.map_or(0, |lifetime_ms| created_ms.saturating_add(lifetime_ms)),
    };
    let mut body = render::token(&token);
    if let Some(body) = body.as_object_mut() {
        body.insert("token".to_owned(), secret.expose().into());
    }
    change(&app, &identity, Change::CreateToken(token)).await?;
    Ok(json_response(StatusCode::OK, &body))
}

pub async fn tokens(State(app): State<App>) -> Result<Response, ApiError> {
    let state = state(&app).await?;
    let tokens: Vec<Value> = state.tokens.iter().map(render::token).collect();
    Ok(json_response(StatusCode::OK, &Value::Array(tokens)))
}

pub async fn delete_token(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    change(&app, &identity, Change::DeleteToken(id)).await
}
