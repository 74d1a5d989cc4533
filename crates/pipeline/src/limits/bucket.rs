//! A token bucket, told the time: what was earned, what was taken, how long a debt will last.
use std::time::Duration;

/// What may be taken at once after idling, in seconds of the rate.
pub(super) const BURST_SECONDS: f64 = 0.1;
/// The slowest rate: a debt must end some day, and nobody divides by zero.
const RATE_MIN: f64 = 1e-3;
/// The longest wait that is told at once.
const WAIT_MAX: f64 = 3600.0;

/// A rate of something per second, and what is left of it.
///
/// Whoever comes while there is no debt takes all it wants, into debt: over any window of `w` seconds at most
/// `rate * (w + BURST_SECONDS)` and one request pass. With requests of at most a twentieth of a second of the rate that is
/// 3 % above it in 5 s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: Option<f64>,
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    /// No limit.
    pub const FREE: Self = Self {
        rate: None,
        tokens: 0.0,
        filled: Duration::ZERO,
    };

    /// A new rate from now on. Debt made under another rate does not outlive it.
    pub fn at(rate: Option<f64>, now: Duration) -> Self {
        Self {
            rate: rate.map(|rate| rate.max(RATE_MIN)),
            tokens: 0.0,
            filled: now,
        }
    }

    /// The rate; `None` is no limit.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// How long the debt will last; `None` without one.
    pub fn debt(&mut self, now: Duration) -> Option<Duration> {
        let rate = self.rate?;
        let earned = now.saturating_sub(self.filled).as_secs_f64() * rate;
        // Not less than one: a whole request must fit into what idling earns.
        self.tokens = (self.tokens + earned).min((rate * BURST_SECONDS).max(1.0));
        self.filled = now;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64((-self.tokens / rate).min(WAIT_MAX)))
    }

    /// Takes, into debt.
    pub fn spend(&mut self, amount: f64) {
        if self.rate.is_some() {
            self.tokens -= amount;
        }
    }
}

#[cfg(test)]
mod tests {
    //! On a clock of its own: over every window of five seconds a bucket lets pass what its rate says, within 5 %.
    use super::*;

    const WINDOW: f64 = 5.0;

    /// Takes requests as fast as the bucket lets them, for `seconds`, oversleeping each wait a little: (when, how much).
    fn taken(rate: f64, request: f64, threads: u32, seconds: f64) -> Vec<(f64, f64)> {
        let mut bucket = Bucket::at(Some(rate), Duration::ZERO);
        let mut now = 0.0;
        let mut found = Vec::new();
        while now < seconds {
            // All threads that wait come at the same time; the first takes, the others see its debt.
            for thread in 0..threads {
                let oversleep = 0.001 * f64::from(thread + 1);
                match bucket.debt(Duration::from_secs_f64(now)) {
                    None => {
                        bucket.spend(request);
                        found.push((now, request));
                    }
                    Some(wait) => now += wait.as_secs_f64().min(0.05) + oversleep,
                }
            }
            now += 0.000_01;
        }
        found
    }

    fn within(rate: f64, request: f64, threads: u32) {
        let events = taken(rate, request, threads, 30.0);
        for start in 0..100_u32 {
            let begin = f64::from(start) * 0.25;
            let in_window = events
                .iter()
                .filter(|(at, _)| (begin..begin + WINDOW).contains(at));
            let relative = in_window.map(|(_, amount)| amount).sum::<f64>() / (rate * WINDOW);
            assert!(
                (0.95..=1.05).contains(&relative),
                "{rate} {request}: {relative}"
            );
        }
    }

    #[test]
    fn a_rate_is_kept_within_five_percent_of_any_five_seconds() {
        for rate in [300e3, 5e6, 80e6, 2e9] {
            within(rate, (rate / 20.0).min(1_048_576.0), 3);
        }
        for operations in [20.0, 500.0, 20_000.0] {
            within(operations, 1.0, 4);
        }
        // CPU: a tenth of a core to two cores, in pieces of 5 ms.
        for share in [0.1, 0.5, 2.0] {
            within(share, 0.005, 2);
        }
    }

    #[test]
    fn idling_earns_no_more_than_a_moment() {
        let mut bucket = Bucket::at(Some(100.0), Duration::ZERO);
        assert_eq!(bucket.debt(Duration::from_secs(1000)), None);
        bucket.spend(20.0);
        let debt = bucket.debt(Duration::from_secs(1000)).expect("debt");
        assert!((debt.as_secs_f64() - 0.1).abs() < 1e-9, "{debt:?}");
    }

    #[test]
    fn the_slowest_rates_neither_divide_by_zero_nor_wait_for_ever() {
        let mut bucket = Bucket::at(Some(0.0), Duration::ZERO);
        bucket.spend(1e12);
        assert_eq!(
            bucket.debt(Duration::ZERO),
            Some(Duration::from_secs_f64(WAIT_MAX))
        );
        assert_eq!(Bucket::FREE.rate(), None);
        let mut free = Bucket::FREE;
        free.spend(1e12);
        assert_eq!(free.debt(Duration::ZERO), None);
    }
}
