//! Random statements over Druid's grammar, whole and broken: each is planned or refused in the user's words, and none
//! makes the planner panic. `SARSEN_SEED=n` repeats one. A stack that overflows ends the process; `SARSEN_TRACE=1` names
//! each seed first.

mod generate;
mod mutate;
mod valid;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use generate::Generator;
use sarsen_planner::{PlanError, plan, references};

use crate::request;

/// Statements that are only read, and those that are planned.
const PARSED: u64 = 100_000;
const PLANNED: u64 = 3_000;

/// Threads of every role have as much.
const STACK_BYTES: usize = 64 << 20;

/// The statement of a seed; `broken` in a hundred are not left as the grammar made them.
fn statement(seed: u64, broken: u64) -> String {
    let mut generator = Generator::new(seed);
    let text = match generator.below(3) {
        0 => generator.valid_statement(),
        _ => generator.statement(),
    };
    if generator.below(100) < broken {
        mutate::mutate(&mut generator, text)
    } else {
        text
    }
}

/// Looks at the statements of `seeds` on two threads; what is wrong with one is printed with its seed.
fn each(seeds: u64, broken: u64, look: impl Fn(&str) -> Result<(), String> + Sync) -> usize {
    let (first, behind) = match std::env::var("SARSEN_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            (seed, seed + 1)
        }
        Err(_) => (0, seeds),
    };
    let traced = std::env::var("SARSEN_TRACE").is_ok();
    let next = AtomicU64::new(first);
    let accepted = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= behind || wrong.lock().unwrap().len() > 20 {
                return;
            }
            let sql = statement(seed, broken);
            if traced {
                eprintln!("SARSEN_SEED={seed}: {} bytes", sql.len());
            }
            match catch_unwind(AssertUnwindSafe(|| look(&sql))) {
                Ok(Ok(())) => {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Err(refused)) if refused.is_empty() => {}
                Ok(Err(refused)) => wrong
                    .lock()
                    .unwrap()
                    .push(format!("SARSEN_SEED={seed}: {refused}\n{sql}")),
                Err(_) => wrong
                    .lock()
                    .unwrap()
                    .push(format!("SARSEN_SEED={seed}: panicked\n{sql}")),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work)
                .unwrap();
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of them:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    accepted.into_inner()
}

/// Nothing for a refusal in the user's words, or what is wrong with it.
fn fault(error: &PlanError) -> String {
    let typed = matches!(
        (error.error_code, error.category),
        ("invalidInput" | "legacyQueryException", "INVALID_INPUT")
            | ("general", "INVALID_INPUT" | "UNSUPPORTED")
            | ("unsupported", "UNSUPPORTED")
    );
    let said = error.message.to_lowercase();
    let ours = [
        "internal error",
        "this issue was likely caused by",
        "bug in datafusion",
        "please help us to resolve",
    ];
    if !typed || error.message.is_empty() || ours.iter().any(|words| said.contains(words)) {
        return format!("{} {}: {}", error.error_code, error.category, error.message);
    }
    String::new()
}

#[test]
fn random_statements_are_read_or_refused() {
    let read = each(PARSED, 60, |sql| {
        references(sql).map(|_| ()).map_err(|error| fault(&error))
    });
    println!("{read} of {PARSED} statements were read");
    assert!(read > 20_000 || std::env::var("SARSEN_SEED").is_ok());
}

#[test]
fn random_statements_are_planned_or_refused() {
    let planned = each(PLANNED, 15, |sql| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let planned = runtime.block_on(plan(&request(sql)));
        planned.map(|_| ()).map_err(|error| fault(&error))
    });
    println!("{planned} of {PLANNED} statements were planned");
    assert!(planned > 300 || std::env::var("SARSEN_SEED").is_ok());
}
