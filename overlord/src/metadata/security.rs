//! Users, roles and tokens: one row, read and written whole.

use prost::Message;
use sarsen_proto::v1;

use super::{Store, StoreError, int};

impl Store {
    /// Users, roles and tokens as they are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn security(&self) -> Result<v1::SecurityState, StoreError> {
        let state: Vec<u8> = sqlx::query_scalar("SELECT state FROM security")
            .fetch_one(&self.reader)
            .await?;
        decode(&state)
    }

    /// Their version, without reading them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn security_version(&self) -> Result<u64, StoreError> {
        let version: i64 = sqlx::query_scalar("SELECT version FROM security")
            .fetch_one(&self.reader)
            .await?;
        Ok(super::uint(version))
    }

    /// Changes them in one transaction; nothing is written when `change` refuses.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] in the words of `change`, and when the store fails.
    pub async fn change_security(
        &self,
        change: impl FnOnce(&mut v1::SecurityState) -> Result<(), String> + Send,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let state: Vec<u8> = sqlx::query_scalar("SELECT state FROM security")
            .fetch_one(&mut *tx)
            .await?;
        let mut state = decode(&state)?;
        change(&mut state).map_err(StoreError::Conflict)?;
        sqlx::query("UPDATE security SET version = $1, state = $2")
            .bind(int(state.version))
            .bind(state.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

fn decode(state: &[u8]) -> Result<v1::SecurityState, StoreError> {
    v1::SecurityState::decode(state).map_err(|error| StoreError::Malformed {
        what: "table of users and roles",
        reason: error.to_string(),
    })
}
