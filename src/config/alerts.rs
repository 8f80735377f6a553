//! When there is an alert of silence, and what becomes of an alert that nobody acknowledges.

use super::Reader;
use crate::time::Ttl;

/// How alerts are pushed and escalated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// An alert that nobody has acknowledged is pushed again after this long, and again.
    pub repeat: Ttl,
    /// And is escalated after this long.
    pub escalate: Ttl,
    /// A reading of a monitored patient is expected so often, where nothing else is set for them.
    pub interval: Ttl,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { repeat: Ttl::from_secs(60), escalate: Ttl::from_secs(180), interval: Ttl::from_secs(10) }
    }
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn alerts(&mut self) -> Rules {
        Rules {
            repeat: Ttl::from_secs(self.number("ALERT_REPEAT_SECONDS", 60, 1, 3_600)),
            escalate: Ttl::from_secs(self.number("ALERT_ESCALATE_SECONDS", 180, 1, 24 * 3_600)),
            interval: Ttl::from_secs(self.number("MONITOR_INTERVAL_SECONDS", 10, 1, 24 * 3_600)),
        }
    }
}
