//! Time that threads really worked on a future.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::time::{ClockId, clock_gettime};

use crate::counters::OrderCounters;

/// Counts the CPU time of each poll of a future.
pub struct CpuTimed<F> {
    future: Pin<Box<F>>,
    counters: Arc<OrderCounters>,
}

impl<F> CpuTimed<F> {
    pub fn new(future: F, counters: Arc<OrderCounters>) -> Self {
        CpuTimed {
            future: Box::pin(future),
            counters,
        }
    }
}

impl<F: Future> Future for CpuTimed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_cpu_ns();
        let polled = self.future.as_mut().poll(cx);
        self.counters.add_cpu(thread_cpu_ns().saturating_sub(before));
        polled
    }
}

/// CPU time of this thread so far.
pub fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
