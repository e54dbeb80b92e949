//! When a timer of the kernel really goes off: Linux keeps timers in a wheel whose slots are coarser the further away
//! they are, and rounds up to the next slot. That is why a SYN is repeated after 1.02 s and not after 1 s, and given up
//! after 135 s and not 131 s (linux.md 4).
//!
//! Source: kernel/time/timer.c (levels of 64 slots, each 8 times as coarse as the one before). A tick is 4 ms
//! (CONFIG_HZ 250, as Debian and Ubuntu have it); ticks are counted from time zero.

use hopwise_engine::{Span, Time};

const TICK_NS: u64 = 4_000_000;
/// How many slots a level has; the last is not used.
const LEVEL_SLOTS: u64 = 64;
/// Each level is this power of two times as coarse as the one before.
const LEVEL_SHIFT: u32 = 3;
const LEVELS: u32 = 9;

/// When a timer goes off that is set at `now` to go off after `delay`.
pub(crate) fn goes_off(now: Time, delay: Span) -> Time {
    let ticks = delay.as_nanos().div_ceil(TICK_NS);
    let at = now.as_nanos() / TICK_NS + ticks;
    let ends_in = |level: &u32| ticks < (LEVEL_SLOTS - 1) << (LEVEL_SHIFT * *level);
    let level = (0..LEVELS - 1).find(ends_in).unwrap_or(LEVELS - 1);
    let shift = LEVEL_SHIFT * level;
    Time::from_nanos((((at >> shift) + 1) << shift).saturating_mul(TICK_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_go_off_late_by_at_most_one_slot_of_their_level() {
        let after = |ms| goes_off(Time::ZERO, Span::from_millis(ms)).as_nanos() / 1_000_000;
        assert_eq!(
            [after(200), after(1_000), after(2_000), after(4_000), after(32_000), after(64_000)],
            [204, 1_024, 2_016, 4_096, 32_768, 65_536]
        );
    }

    #[test]
    fn a_timer_never_goes_off_early() {
        for now_ns in (0..100_000_000_000).step_by(77_777_777) {
            for delay_ms in [1, 4, 199, 251, 252, 1_000, 2_016, 3_999, 16_128, 129_024, 924_600] {
                let (now, delay) = (Time::from_nanos(now_ns), Span::from_millis(delay_ms));
                let late = goes_off(now, delay) - (now + delay);
                assert!(late.as_nanos() <= delay.as_nanos() / 7 + 2 * TICK_NS, "{now} {delay}: {late}");
            }
        }
    }
}
