//! When a request moved last. A request that waits for its own limit moves; one whose server is silent does not.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The last movement of one request, shared by its body, its answer and who watches it.
#[derive(Clone)]
pub struct Activity {
    begin: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Activity {
    /// Moved just now.
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            last_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Moved just now.
    pub fn touch(&self) {
        let now = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// Returns when nothing has moved for so long.
    pub async fn stall(&self, longest: Duration) {
        loop {
            let last = self.begin + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let silent = last.elapsed();
            if silent >= longest {
                return;
            }
            tokio::time::sleep(longest.saturating_sub(silent)).await;
        }
    }
}
