//! What the engine may keep and how much it takes to say something: each limit with its reason.

/// Bounds and thresholds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most identified callers that are followed. Names of consumers cannot be made up by outsiders, so this bounds memory on
    /// large installations: at two kilobytes each, 100 MB.
    pub consumers_max: usize,
    /// Most client addresses that are followed. Anyone can bring new ones; those that come once go first.
    pub addresses_max: usize,
    /// Most endpoints (method and path template) that are followed.
    pub endpoints_max: usize,
    /// Most endpoints of one route; what is beyond is one endpoint `(other)`.
    pub endpoints_per_route_max: usize,
    /// Most pairs of consumer and route whose use is remembered for recommendations.
    pub uses_max: usize,
    /// Most alerts that are kept; the oldest goes.
    pub alerts_max: usize,
    /// How many alerts a day a person is willing to read. What is less surprising than the rest is counted as held back.
    /// Findings that need no statistics (success after guessing) are always told.
    pub alerts_per_day: u32,
    /// How long something new is only learned, not judged by its own past.
    pub learning_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            consumers_max: 50_000,
            addresses_max: 16_384,
            endpoints_max: 4_096,
            endpoints_per_route_max: 256,
            uses_max: 65_536,
            alerts_max: 1_000,
            alerts_per_day: 20,
            learning_ms: DAY_MS,
        }
    }
}

/// A minute.
pub(crate) const MINUTE_MS: u64 = 60_000;
/// An hour.
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
/// A day.
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;
/// The window in which objects, endpoints and bytes of a caller are counted.
pub(crate) const WINDOW_MS: u64 = 10 * MINUTE_MS;
