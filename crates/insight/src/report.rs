//! What the engine knows, for people and programs: state of learning, alerts, inventory, recommendations.

use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    endpoint::Endpoint,
    engine::Engine,
    fleet::{Fleet, KNOWN},
    recommend::{Posture, Recommendation},
    settings::DAY_MS,
};

/// Everything that is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it was made, on the clock of the events, in milliseconds since 1970.
    pub at_ms: u64,
    /// How far learning is.
    pub learning: Learning,
    /// What it costs and what it lost.
    pub figures: Figures,
    /// The alerts, newest first.
    pub alerts: Vec<Alert>,
    /// Whether it is known what documents name; without, no endpoint is documented and none is undocumented.
    pub knows_documents: bool,
    /// The endpoints, the busiest first.
    pub inventory: Vec<Row>,
    /// What to change.
    pub recommendations: Vec<Recommendation>,
}

/// How far learning is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Learning {
    /// In a word: `learning` or `ready`.
    pub state: String,
    /// What that means.
    pub sentence: String,
    /// The first event, in milliseconds since 1970.
    pub since_ms: u64,
    /// Events taken.
    pub events: u64,
    /// Minutes of callers that the usual pace rests on.
    pub caller_minutes: u64,
    /// Endpoints whose volume is known.
    pub endpoints_ready: usize,
    /// Endpoints that are followed.
    pub endpoints: usize,
}

/// What the engine keeps and what it let go.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Bytes of all that it remembers.
    pub memory_bytes: usize,
    /// Identified callers that are followed.
    pub consumers: usize,
    /// Addresses that are followed.
    pub addresses: usize,
    /// Callers and endpoints that had to make room.
    pub evicted: u64,
    /// Events that our own limits refused; they teach nothing.
    pub limited: u64,
    /// Alerts told.
    pub told: u64,
    /// Findings that the budget held back.
    pub held_back: u64,
    /// Events that did not arrive, because the engine was behind.
    pub lost: u64,
}

/// An endpoint of the inventory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The method.
    pub method: String,
    /// The path template.
    pub path: String,
    /// The route.
    pub route: Option<String>,
    /// Whether a route names this path exactly or by template.
    pub is_documented: bool,
    /// Whether it was seen for the first time within a day, by an engine that had been there for longer.
    pub is_new: bool,
    /// First and last call, in milliseconds since 1970.
    pub first_ms: u64,
    /// Last.
    pub last_ms: u64,
    /// Calls.
    pub calls: u64,
    /// Callers, about.
    pub callers: u64,
    /// Calls that failed by the caller's doing.
    pub failed: u64,
    /// Calls that failed by the service's doing.
    pub server_errors: u64,
    /// Calls served without identity.
    pub anonymous: u64,
    /// Calls of a size or duration that hardly ever occurs there.
    pub unusual: u64,
    /// Whether its volume is still being learned.
    pub is_learning: bool,
}

impl Engine {
    /// Everything that is told.
    pub fn report(&self, posture: &Posture) -> Report {
        let mut alerts: Vec<Alert> = self.alerts().cloned().collect();
        alerts.reverse();
        Report {
            at_ms: self.now_ms,
            learning: self.learning(),
            figures: self.figures(),
            alerts,
            knows_documents: self.documented.is_some(),
            inventory: self.inventory(),
            recommendations: self.recommend(posture),
        }
    }

    /// How far learning is.
    pub fn learning(&self) -> Learning {
        let endpoints_ready = self.endpoints.values().filter(|endpoint| is_ready(endpoint)).count();
        let age = self.now_ms.saturating_sub(self.first_ms);
        let caller_minutes = self.fleet.pace.total();
        let is_ready = age >= self.settings.learning_ms && caller_minutes >= KNOWN;
        let sentence = if is_ready {
            format!(
                "callers are known from {caller_minutes} minutes with calls; {endpoints_ready} endpoints by their volume"
            )
        } else {
            format!(
                "{:.1} of {:.0} hours and {caller_minutes} of {KNOWN} caller-minutes: what needs no past is told, the rest is \
                 marked as learning or held back",
                age as f64 / 3_600_000.0,
                self.settings.learning_ms as f64 / 3_600_000.0
            )
        };
        Learning {
            state: if is_ready { "ready" } else { "learning" }.to_owned(),
            sentence,
            since_ms: self.first_ms,
            events: self.events,
            caller_minutes,
            endpoints_ready,
            endpoints: self.endpoints.len(),
        }
    }

    /// What it keeps. Samples and names are counted by a bound, not one by one.
    pub fn figures(&self) -> Figures {
        // Most callers have no samples; a name and its counters are below a hundred bytes.
        let callers = self.consumers.len() + self.addresses.len();
        let memory_bytes = self.consumers.bytes()
            + self.addresses.bytes()
            + callers * 100
            + self.endpoints.bytes()
            + self.endpoints.len() * (Endpoint::heap_bytes() + 300)
            + self.uses.bytes()
            + self.routes.len() * 1_200
            + self.templates.bytes()
            + Fleet::heap_bytes();
        Figures {
            memory_bytes,
            consumers: self.consumers.len(),
            addresses: self.addresses.len(),
            evicted: self.consumers.evicted() + self.addresses.evicted() + self.endpoints.evicted(),
            limited: self.limited,
            told: self.kept.told(),
            held_back: self.budget.held_back(),
            lost: 0,
        }
    }

    fn inventory(&self) -> Vec<Row> {
        let is_old = self.now_ms.saturating_sub(self.first_ms) > 2 * DAY_MS;
        let mut rows: Vec<Row> = self
            .endpoints
            .values()
            .map(|endpoint| Row {
                method: endpoint.method.to_string(),
                path: endpoint.template.to_string(),
                route: endpoint.route.as_deref().map(str::to_owned),
                is_documented: endpoint.is_documented,
                is_new: is_old && self.now_ms.saturating_sub(endpoint.first_ms) < DAY_MS,
                first_ms: endpoint.first_ms,
                last_ms: endpoint.last_ms,
                calls: endpoint.calls,
                callers: endpoint.callers.count().round() as u64,
                failed: endpoint.failed,
                server_errors: endpoint.server,
                anonymous: endpoint.anonymous,
                unusual: endpoint.unusual,
                is_learning: !is_ready(endpoint),
            })
            .collect();
        rows.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.path.cmp(&b.path)));
        rows
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.pace.usual.seen() >= 240 && endpoint.shape.is_warm()
}
