//! Doing a piece of work again when the connection to the database was lost under it.

use std::time::{Duration, Instant};

use super::StoreError;

/// From the first loss on, attempts begin for so long.
const PATIENCE: Duration = Duration::from_secs(15);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs `once` until the connection holds. What it does is one transaction, which the database has done wholly or not at
/// all, and after a lost commit nobody knows which: done twice it must do no more than once.
///
/// # Errors
/// The last one.
pub(super) async fn retried<T, F>(once: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (mut pause, mut until) = (FIRST_PAUSE, None);
    loop {
        match once().await {
            Err(error) if is_lost(&error) => {
                let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() + pause >= until {
                    return Err(error);
                }
                tracing::warn!(%error, "the metadata store's connection was lost, will try again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

/// Whether another connection may do better.
fn is_lost(error: &StoreError) -> bool {
    match error {
        StoreError::Sql(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_)) => true,
        StoreError::Sql(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            // Connection exceptions, a server that ends or begins, and transactions that it broke off for others' sake.
            let again = ["57P01", "57P02", "57P03", "40001", "40P01"];
            (code.len() == 5 && code.starts_with("08")) || again.contains(&code.as_ref())
        }),
        _ => false,
    }
}
