//! Ports for servers of tests.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that the system gives to outgoing connections: a port between two starts of a server is nobody else's.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// A port that nobody listens at, and that no other call in this process was given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes begin at places of their own.
        let place = std::process::id() * 97 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + place % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
