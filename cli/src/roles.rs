//! Starting and ending a process that serves.

use sarsen_proto::transport::Network;
use tokio_util::sync::CancellationToken;

use crate::{Outcome, logging};

/// Connections of a process that has one role.
pub fn network() -> Network {
    Network::default()
}

/// Address space for a thread's stack: statements are planned by recursion, as deep as the planner allows. Only what is
/// used becomes memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs a role until it ends, or until Ctrl-C or SIGTERM tell it to; a second one ends the process at once.
pub fn serve<F: Future<Output = Outcome>>(role: impl FnOnce(CancellationToken) -> F) -> Outcome {
    logging::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sarsen-io")
        .thread_stack_size(STACK_BYTES)
        .build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(watch_signals(shutdown.clone()));
        role(shutdown).await
    })
}

async fn watch_signals(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be watched: only kill -9 will end this process");
        return;
    };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if !first {
            tracing::warn!("ended at once by a second signal");
            std::process::exit(130);
        }
        tracing::info!("shutting down");
        shutdown.cancel();
    }
}
