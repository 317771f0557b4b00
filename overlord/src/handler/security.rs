//! Users, roles and tokens.

use std::sync::Arc;

use sarsen_proto::v1;

use crate::audit::Entry;
use crate::error::RequestError;
use crate::overlord::Overlord;
use crate::security::{apply, describe};

impl Overlord {
    pub(crate) async fn get_security(
        &self,
        request: v1::GetSecurityRequest,
    ) -> Result<v1::GetSecurityReply, RequestError> {
        let version = self.store.security_version().await?;
        if request.known_version == version {
            return Ok(v1::GetSecurityReply { version, state: None });
        }
        let state = self.store.security().await?;
        Ok(v1::GetSecurityReply {
            version: state.version,
            state: Some(state),
        })
    }

    pub(crate) async fn change_security(
        self: Arc<Self>,
        request: v1::ChangeSecurityRequest,
    ) -> Result<v1::Empty, RequestError> {
        let change = request.change.ok_or_else(|| {
            RequestError::Invalid("a change of users and roles says what changes".to_owned())
        })?;
        let (action, detail) = describe(&change);
        let caller = request.caller.unwrap_or_default();
        let changed = self
            .store
            .change_security(|state| apply(state, change))
            .await
            .map_err(RequestError::from);
        let result = changed
            .as_ref()
            .err()
            .map_or("ok".to_owned(), ToString::to_string);
        self.audit.record(&Entry {
            action,
            identity: &caller.identity,
            remote: &caller.remote,
            detail: &detail,
            result: &result,
            ..Entry::default()
        });
        changed.map(|()| v1::Empty {})
    }

    /// Gateways tell of requests that they refused; how many lines they may make is theirs to bound.
    pub(crate) fn record_refusals(&self, request: &v1::RecordRefusalsRequest) -> v1::Empty {
        for refusal in &request.refusals {
            let caller = refusal.caller.clone().unwrap_or_default();
            self.audit.record(&Entry {
                action: "refuse",
                identity: &caller.identity,
                remote: &caller.remote,
                detail: format!("{} {}", refusal.method, refusal.path).trim(),
                result: &refusal.status.to_string(),
                count: refusal.count,
                ..Entry::default()
            });
        }
        v1::Empty {}
    }
}
