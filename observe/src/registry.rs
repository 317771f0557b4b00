//! The roles of this process, as far as they tell of themselves.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::BoxFuture;
use serde_json::Value;

/// A role that tells how it stands.
pub trait Observed: Send + Sync {
    /// Its name in `/debug` and `/status/ready`.
    fn role(&self) -> &'static str;

    /// Sets gauges; asked before each page of metrics.
    fn measure(&self) {}

    /// # Errors
    /// Why it can take no work now.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// Ids of the queries that it has a part in.
    fn queries(&self) -> Vec<String>;

    /// All that it knows of one of them; without secrets and rows.
    fn dump(&self, query_id: &str) -> BoxFuture<'static, Option<Value>>;
}

static ROLES: Mutex<Vec<Weak<dyn Observed>>> = Mutex::new(Vec::new());

/// Asks `role` from now on, as long as it lives.
pub fn observe(role: &Arc<dyn Observed>) {
    let mut roles = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    roles.retain(|role| role.strong_count() > 0);
    roles.push(Arc::downgrade(role));
}

/// The roles that live.
pub(crate) fn roles() -> Vec<Arc<dyn Observed>> {
    let roles = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    roles.iter().filter_map(Weak::upgrade).collect()
}
