//! Somebody who asks, and what they may.

use std::sync::Arc;

use sarsen_proto::v1;

use super::directory::Role;
use crate::error::ApiError;

/// What is read or written (Druid: operations/security-user-auth.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    Datasource(String),
    /// `EXTERNAL`, or the type of an input source.
    External(String),
    QueryContext(String),
    /// `CONFIG` or `security`.
    Config(&'static str),
    State,
}

impl Resource {
    fn of_type(&self) -> &'static str {
        match self {
            Resource::Datasource(_) => "DATASOURCE",
            Resource::External(_) => "EXTERNAL",
            Resource::QueryContext(_) => "QUERY_CONTEXT",
            Resource::Config(_) => "CONFIG",
            Resource::State => "STATE",
        }
    }

    fn name(&self) -> &str {
        match self {
            Resource::Datasource(name) | Resource::External(name) | Resource::QueryContext(name) => name,
            Resource::Config(name) => name,
            Resource::State => "STATE",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Access {
    pub fn name(self) -> &'static str {
        match self {
            Access::Read => "READ",
            Access::Write => "WRITE",
        }
    }
}

/// Druid's name for everybody, where nobody is asked who they are.
const ALLOW_ALL: &str = "allowAll";

/// Whoever sent a request; every guarded route has one.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: String,
    /// IP address that the request came from.
    remote: String,
    rights: Rights,
}

#[derive(Debug, Clone)]
enum Rights {
    Everything,
    Roles(Vec<Arc<Role>>),
}

impl Identity {
    pub(super) fn anybody(remote: String) -> Identity {
        Identity {
            name: ALLOW_ALL.to_owned(),
            remote,
            rights: Rights::Everything,
        }
    }

    pub(super) fn with_roles(name: String, remote: String, roles: Vec<Arc<Role>>) -> Identity {
        Identity {
            name,
            remote,
            rights: Rights::Roles(roles),
        }
    }

    /// Whether nobody is asked for rights.
    pub fn is_unlimited(&self) -> bool {
        matches!(self.rights, Rights::Everything)
    }

    /// For the audit log.
    pub fn caller(&self) -> v1::Caller {
        v1::Caller {
            identity: self.name.clone(),
            remote: self.remote.clone(),
        }
    }

    pub fn can(&self, resource: &Resource, access: Access) -> bool {
        match &self.rights {
            Rights::Everything => true,
            Rights::Roles(roles) => roles
                .iter()
                .any(|role| role.allows(resource.of_type(), resource.name(), access.name())),
        }
    }

    /// # Errors
    /// A 403 when it may not.
    pub fn may(&self, resource: &Resource, access: Access) -> Result<(), ApiError> {
        if self.can(resource, access) {
            return Ok(());
        }
        tracing::info!(
            target: "sarsen::audit",
            identity = self.name,
            remote = self.remote,
            kind = resource.of_type(),
            name = resource.name(),
            access = access.name(),
            "forbidden"
        );
        Err(ApiError::Forbidden)
    }

    /// Those of the tables that may be read.
    pub fn readable(&self, tables: Vec<v1::Table>) -> impl Iterator<Item = v1::Table> {
        let may_read = |table: &v1::Table| self.can_read_datasource(&table.datasource);
        tables.into_iter().filter(may_read)
    }

    pub fn can_read_datasource(&self, name: &str) -> bool {
        self.can(&Resource::Datasource(name.to_owned()), Access::Read)
    }

    /// Whether a statement may be looked at or, with [`Access::Write`], ended: by whoever submitted it, and by those who
    /// have the right to the cluster's state.
    pub fn can_statement(&self, task: &v1::Task, access: Access) -> bool {
        let owner = task.spec.as_ref().map(|spec| spec.identity.as_str());
        owner == Some(self.name.as_str()) || self.can(&Resource::State, access)
    }

    /// Whether a task may be looked at or, with [`Access::Write`], ended: by the right to its datasource, as in Druid. A
    /// SELECT's report holds rows of its tables: whoever did not submit it needs the right to read those too.
    ///
    /// # Errors
    /// A 403 when it may not.
    pub fn may_task(&self, task: &v1::Task, access: Access) -> Result<(), ApiError> {
        let spec = task.spec.as_ref();
        let is_select = spec.is_some_and(|spec| spec.kind() == v1::StatementKind::Select);
        if is_select && spec.is_some_and(|spec| spec.identity == self.name) {
            return Ok(());
        }
        self.may(&Resource::Datasource(task.datasource.clone()), access)?;
        let tables = spec.filter(|_| is_select).and_then(|spec| spec.catalog.as_ref());
        for table in tables.iter().flat_map(|catalog| &catalog.tables) {
            self.may(&Resource::Datasource(table.datasource.clone()), Access::Read)?;
        }
        Ok(())
    }
}
