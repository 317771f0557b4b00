//! Cores of the process, and who has one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

tokio::task_local! {
    static HELD: Held;
}

/// A core that a partition of a fragment works on.
struct Held {
    cores: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Held {
    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

/// Does `work` once one of the `cores` is free, and holds that core until its end.
pub async fn on_a_core<F: Future>(cores: Arc<Semaphore>, work: F) -> F::Output {
    let permit = Arc::clone(&cores).acquire_owned().await.ok();
    let held = Held {
        cores,
        permit: Mutex::new(permit),
    };
    HELD.scope(held, work).await
}

/// Waits without holding a core: somebody else may use it meanwhile.
pub async fn off_core<F: Future>(waiting: F) -> F::Output {
    let cores = HELD.try_with(|held| {
        held.set(None);
        Arc::clone(&held.cores)
    });
    let output = waiting.await;
    if let Ok(cores) = cores {
        let permit = cores.acquire_owned().await.ok();
        let _ = HELD.try_with(|held| held.set(permit));
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_lends_the_core_to_others() {
        let cores = Arc::new(Semaphore::new(1));
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        let waits = on_a_core(Arc::clone(&cores), async {
            assert_eq!(cores.available_permits(), 0);
            off_core(async { receive.await.unwrap() }).await;
            assert_eq!(cores.available_permits(), 0, "it has its core again");
        });
        let works = on_a_core(Arc::clone(&cores), async { send.send(()).unwrap() });
        tokio::join!(waits, works);
        assert_eq!(cores.available_permits(), 1);
    }
}
