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
        let state = sqlx::query_scalar("SELECT state FROM security")
            .fetch_optional(&self.reader)
            .await?;
        decode(state)
    }

    /// Their version, without reading them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn security_version(&self) -> Result<u64, StoreError> {
        let version: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM security")
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
        let state = sqlx::query_scalar("SELECT state FROM security")
            .fetch_optional(&mut *tx)
            .await?;
        let mut state = decode(state)?;
        change(&mut state).map_err(StoreError::Conflict)?;
        let sql = "INSERT INTO security (one, version, state) VALUES (1, $1, $2)
             ON CONFLICT (one) DO UPDATE SET version = excluded.version, state = excluded.state";
        sqlx::query(sql)
            .bind(int(state.version))
            .bind(state.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Without a row there is nobody yet.
fn decode(state: Option<Vec<u8>>) -> Result<v1::SecurityState, StoreError> {
    v1::SecurityState::decode(state.unwrap_or_default().as_slice()).map_err(|error| StoreError::Malformed {
        what: "table of users and roles",
        reason: error.to_string(),
    })
}
