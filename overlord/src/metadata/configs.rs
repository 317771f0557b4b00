//! Configurations that clients store, and who changed them when.

use sarsen_proto::v1;
use sqlx::Row;

use super::retry::retried;
use super::{Store, StoreError};
use crate::time::{Interval, now_ms};

/// Entries of a history that are answered at the most.
const HISTORY: u32 = 1_000;

impl Store {
    /// All of a kind, by key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn configs(&self, kind: &str) -> Result<Vec<v1::Config>, StoreError> {
        retried(|| async {
            let rows = sqlx::query("SELECT name, payload FROM configs WHERE kind = $1 ORDER BY name")
                .bind(kind)
                .fetch_all(&self.reader)
                .await?;
            let read = |row: &sqlx::any::AnyRow| {
                Ok(v1::Config {
                    key: row.try_get("name")?,
                    payload_json: row.try_get("payload")?,
                })
            };
            rows.iter().map(read).collect()
        })
        .await
    }

    /// Writes changes and their history together.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_configs(&self, request: &v1::PutConfigsRequest) -> Result<(), StoreError> {
        retried(|| self.put_configs_once(request)).await
    }

    async fn put_configs_once(&self, request: &v1::PutConfigsRequest) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM config_history")
            .fetch_one(&mut *tx)
            .await?;
        let remote = request
            .caller
            .as_ref()
            .map_or("", |caller| caller.remote.as_str());
        let now = now_ms();
        for (seq, change) in (last + 1..).zip(&request.changes) {
            match &change.payload_json {
                Some(payload) => {
                    let sql = "INSERT INTO configs VALUES ($1, $2, $3)
                               ON CONFLICT (kind, name) DO UPDATE SET payload = excluded.payload";
                    sqlx::query(sql)
                        .bind(&request.kind)
                        .bind(&change.key)
                        .bind(payload)
                        .execute(&mut *tx)
                        .await?;
                }
                None => {
                    sqlx::query("DELETE FROM configs WHERE kind = $1 AND name = $2")
                        .bind(&request.kind)
                        .bind(&change.key)
                        .execute(&mut *tx)
                        .await?;
                }
            }
            sqlx::query("INSERT INTO config_history VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
                .bind(seq)
                .bind(&request.kind)
                .bind(&change.key)
                .bind(change.payload_json.as_deref().unwrap_or("null"))
                .bind(&request.author)
                .bind(&request.comment)
                .bind(remote)
                .bind(now)
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Changes of a kind, or of one key of it, the latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn config_history(
        &self,
        request: &v1::ConfigHistoryRequest,
    ) -> Result<Vec<v1::ConfigEntry>, StoreError> {
        retried(|| self.config_history_once(request)).await
    }

    async fn config_history_once(
        &self,
        request: &v1::ConfigHistoryRequest,
    ) -> Result<Vec<v1::ConfigEntry>, StoreError> {
        let during = request
            .interval
            .as_ref()
            .map_or(Interval::ETERNITY, Interval::from);
        let limit = match request.count {
            0 => HISTORY,
            count => count.min(HISTORY),
        };
        let sql = format!(
            "SELECT name, payload, author, remark, remote, changed_ms FROM config_history
             WHERE kind = $1 AND (name = $2 OR $3) AND changed_ms >= $4 AND changed_ms < $5
             ORDER BY seq DESC LIMIT {limit}"
        );
        let rows = sqlx::query(&sql)
            .bind(&request.kind)
            .bind(request.key.as_deref().unwrap_or_default())
            .bind(request.key.is_none())
            .bind(during.start_ms)
            .bind(during.end_ms)
            .fetch_all(&self.reader)
            .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(v1::ConfigEntry {
                key: row.try_get("name")?,
                payload_json: row.try_get("payload")?,
                author: row.try_get("author")?,
                comment: row.try_get("remark")?,
                remote: row.try_get("remote")?,
                changed_ms: row.try_get("changed_ms")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
