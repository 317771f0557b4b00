//! Starting and ending a process that serves.

use sarsen_proto::tls::TlsOptions;
use sarsen_proto::transport::Network;
use sarsen_proto::version::Version;
use tokio_util::sync::CancellationToken;

use crate::{Outcome, Role};

/// Connections of a process that has one role.
///
/// # Errors
/// When the files for TLS cannot be used.
pub fn network(tls: &TlsOptions) -> Outcome<Network> {
    Ok(Network::with_tls(tls.load()?))
}

/// Address space for a thread's stack: statements are planned by recursion, as deep as the planner allows. Only what is
/// used becomes memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs a role until it ends, or until Ctrl-C or SIGTERM tell it to; a second one ends the process at once. `service` is
/// its name in traces.
pub fn serve<O: clap::Args, F: Future<Output = Outcome>>(
    service: &'static str,
    role: Role<O>,
    run: impl FnOnce(O, CancellationToken) -> F,
) -> Outcome {
    Version::announced()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sarsen-io")
        .thread_stack_size(STACK_BYTES)
        .build()?;
    runtime.block_on(async {
        let tracing = sarsen_observe::start(&role.observe, service)?;
        crate::config::warn_of_unknown_variables();
        let (shutdown, ended) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(watch_signals(shutdown.clone()));
        if let Some(address) = &role.observe.admin_addr {
            sarsen_observe::serve(address, ended.clone()).await?;
        }
        let outcome = run(role.own, shutdown).await;
        ended.cancel();
        // What is left of the traces is sent over this runtime, by a thread that may wait for it.
        tokio::task::spawn_blocking(move || drop(tracing)).await?;
        outcome
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
