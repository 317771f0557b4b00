//! Clocks of two machines.

use super::check::Found;

/// From here on times in reports and retention are visibly off.
const NOTICEABLE_MS: i64 = 1_000;

/// From here on certificates, signatures and tokens are refused at random.
const HARMFUL_MS: i64 = 30_000;

/// Milliseconds since the epoch by this machine.
pub fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// By how much their clock is ahead of ours, when they said `theirs` between our `before` and `after`: the middle, and by
/// how much that may be wrong.
pub fn ahead(theirs: i64, before: i64, after: i64) -> (i64, i64) {
    (theirs - (before + after) / 2, (after - before) / 2)
}

/// What a difference of clocks means, after what else was found.
pub fn judge(found: &str, whose: &str, ahead_ms: i64, uncertain_ms: i64) -> Found {
    // As far as it is certain.
    let off = ahead_ms.abs().saturating_sub(uncertain_ms);
    let seconds = f64::from(i32::try_from(ahead_ms.abs()).unwrap_or(i32::MAX)) / 1000.0;
    let direction = if ahead_ms > 0 { "ahead" } else { "behind" };
    let told = format!("{found}; {whose} clock is {seconds:.1} s {direction} of this machine's");
    let advice =
        "synchronise the clocks of all machines (chrony, systemd-timesyncd or the host's time service)";
    match off {
        off if off > HARMFUL_MS => Found::fail(told, advice),
        off if off > NOTICEABLE_MS => Found::warn(told, advice),
        _ => Found::ok(format!(
            "{found}; clocks agree within {:.1} s",
            (off.max(100)) as f64 / 1000.0
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn a_second_is_noticed_and_half_a_minute_is_too_much() {
        let status = |ahead: i64, uncertain: i64| judge("x", "its", ahead, uncertain).of("clock").status;
        assert_eq!(status(900, 10), Status::Ok);
        assert_eq!(status(-1_200, 500), Status::Ok);
        assert_eq!(status(1_200, 10), Status::Warn);
        assert_eq!(status(-30_005, 10), Status::Warn);
        assert_eq!(status(-31_000, 10), Status::Fail);
        assert_eq!(ahead(1_100, 1_000, 1_020), (90, 10));
    }
}
