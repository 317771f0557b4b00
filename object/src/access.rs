//! What one source or destination sets instead of the process's settings.

use std::fmt;

/// See the module; nothing set means the process's own.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    pub keys: Option<Keys>,
    pub assume_role_arn: Option<String>,
    pub assume_role_external_id: Option<String>,
    /// `http://host:port`
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: Option<bool>,
    pub azure: AzureAccess,
}

/// Keys of AWS.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

/// Credentials of Azure: at most one kind of them is set.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct AzureAccess {
    pub key: Option<String>,
    pub sas_token: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub tenant_id: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("assume_role_arn", &self.assume_role_arn)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}
