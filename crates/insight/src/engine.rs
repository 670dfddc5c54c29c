//! The engine: events in, alerts out.
//!
//! One event touches one caller, one endpoint and the fleet. The order is: close what has ended, count, judge, and only then
//! say what may teach. What was found suspicious teaches nothing for an hour ([`Caller::suspected_until_ms`]), a call of
//! unusual shape never ([`crate::shape`]), and an endpoint's unusual minute not before it has lasted seven days. Rejections of
//! our own limits teach nothing at all: they tell about the limit.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    alert::{Alert, Finding, Sample},
    budget::Budget,
    caller::Caller,
    detect::{self, Look},
    endpoint::{Endpoint, Refusals},
    event::{Event, Outcome},
    fleet::Fleet,
    hash::Seed,
    kept::Kept,
    route::{RouteFacts, Use},
    settings::{HOUR_MS, MINUTE_MS, Settings},
    shape,
    table::Table,
    template::{self, Place, Templates},
    window,
};

/// Routes that are followed: their names come from documents, but a line of a log may hold anything.
const ROUTES_MAX: usize = 4_096;

/// An alert is noticed anew for so long instead of being told again.
const SAME_MS: u64 = HOUR_MS;

/// The detectors and all that they remember.
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) seed: Seed,
    pub(crate) now_ms: u64,
    pub(crate) first_ms: u64,
    pub(crate) events: u64,
    /// Events that our own limits refused.
    pub(crate) limited: u64,
    pub(crate) templates: Templates,
    template: String,
    pub(crate) consumers: Table<Caller>,
    pub(crate) addresses: Table<Caller>,
    pub(crate) endpoints: Table<Endpoint>,
    pub(crate) routes: BTreeMap<Arc<str>, RouteFacts>,
    pub(crate) uses: Table<Use>,
    pub(crate) fleet: Fleet,
    pub(crate) kept: Kept,
    pub(crate) documented: Option<Vec<Documented>>,
    pub(crate) budget: Budget,
    minute: u64,
}

/// A path that a route names whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// The route.
    pub route: String,
    /// The methods; none means every method.
    pub methods: Vec<String>,
    /// The path, with `{name}` for any one segment.
    pub path: String,
}

impl Engine {
    /// An engine that knows nothing yet. `seed` should be secret and random.
    pub fn new(settings: Settings, seed: Seed) -> Self {
        Engine {
            seed,
            now_ms: 0,
            first_ms: 0,
            events: 0,
            limited: 0,
            templates: Templates::new(),
            template: String::new(),
            consumers: Table::new(settings.consumers_max),
            addresses: Table::new(settings.addresses_max),
            endpoints: Table::new(settings.endpoints_max),
            routes: BTreeMap::new(),
            uses: Table::new(settings.uses_max),
            fleet: Fleet::default(),
            kept: Kept::new(settings.alerts_max),
            documented: None,
            budget: Budget::new(settings.alerts_per_day),
            minute: 0,
            settings,
        }
    }

    /// Says which paths the documents name, in place of what was said before.
    pub fn document(&mut self, documented: Vec<Documented>) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.is_documented = is_documented(&documented, endpoint);
        }
        self.documented = Some(documented);
    }

    /// Takes an event. Events may be a little out of order; the clock never goes back.
    pub fn observe(&mut self, event: &Event<'_>) {
        self.tick(event.at_ms);
        self.events += 1;
        let outcome = event.outcome();
        let (key, place) = self.place(event, outcome);
        let route = self.note_route(event, outcome);
        let caller_key = self.caller_key(event);
        self.note_use(event, route.as_ref(), caller_key);
        if outcome == Outcome::Limited {
            self.limited += 1;
            return;
        }
        let mut findings = Few::default();
        self.judge(event, outcome, key, &place, caller_key, &mut findings);
        for finding in findings.0.into_iter().flatten() {
            self.tell(finding);
        }
    }

    /// Lets time pass without events: minutes end, and silence is noticed.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.first_ms == 0 {
            self.first_ms = self.now_ms;
        }
        let minute = self.now_ms / MINUTE_MS;
        if minute <= self.minute {
            return;
        }
        self.minute = minute;
        let now_ms = self.now_ms;
        let mut findings = Vec::new();
        window::endpoints(&mut self.endpoints, now_ms, |endpoint| {
            if endpoint.refusals.turn(now_ms) {
                detect::errors::close(&mut endpoint.refusals, now_ms);
            }
            findings.extend(detect::volume::close(endpoint, now_ms));
        });
        findings.into_iter().for_each(|finding| self.tell(finding));
    }

    /// The alerts, newest last.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.kept.iter()
    }

    fn caller_key(&self, event: &Event<'_>) -> (bool, u64) {
        match event.consumer {
            Some(consumer) => (true, self.seed.of(&[b"c", consumer.as_bytes()])),
            None => (false, self.seed.of(&[b"a", prefix(event.client).as_bytes()])),
        }
    }

    /// Which endpoint an event belongs to, made where it is new; none where nobody knows the path.
    fn place(&mut self, event: &Event<'_>, outcome: Outcome) -> (Option<u64>, Place) {
        let is_real = event.was_forwarded() && outcome != Outcome::Missing;
        let mut place = self.templates.of(self.seed, event.path, is_real, &mut self.template);
        if place.object.is_none()
            && let Some(named) = event.query.and_then(|query| template::object_of_query(self.seed, query))
        {
            place = named;
        }
        let route = event.route.unwrap_or_default();
        let mut key = self.seed.of(&[event.method.as_bytes(), route.as_bytes(), self.template.as_bytes()]);
        let known = self.endpoints.get(key).is_some();
        if known || (!is_real && (event.route.is_none() || outcome == Outcome::Missing)) {
            return (known.then_some(key), place);
        }
        let name = self.route_name(route);
        let facts = name.as_ref().and_then(|name| self.routes.get_mut(name));
        // Refused before a service was asked: which of the route's paths there are is not known.
        let is_full =
            facts.as_ref().is_some_and(|facts| facts.endpoints >= self.settings.endpoints_per_route_max);
        let (method, shown) = if is_real && !is_full {
            (event.method, self.template.as_str())
        } else {
            key = self.seed.of(&[b"any", route.as_bytes()]);
            ("ANY", if is_real { "(other)" } else { "(refused before it was forwarded)" })
        };
        let now_ms = self.now_ms;
        if let Some((endpoint, is_new)) =
            self.endpoints.entry(key, || Endpoint::new(method, shown, name.clone(), now_ms))
            && is_new
        {
            endpoint.is_documented =
                self.documented.as_ref().is_some_and(|documented| is_documented(documented, endpoint));
            if let Some(facts) = facts {
                facts.endpoints += 1;
            }
        }
        (Some(key), place)
    }

    /// The route's name as it is kept, if it is or can be.
    fn route_name(&mut self, route: &str) -> Option<Arc<str>> {
        if route.is_empty() {
            return None;
        }
        if let Some((name, _)) = self.routes.get_key_value(route) {
            return Some(name.clone());
        }
        if self.routes.len() >= ROUTES_MAX {
            return None;
        }
        let name: Arc<str> = route.into();
        self.routes.insert(name.clone(), RouteFacts::new(self.now_ms));
        Some(name)
    }

    fn note_route(&mut self, event: &Event<'_>, outcome: Outcome) -> Option<Arc<str>> {
        let name = self.route_name(event.route?)?;
        let now_ms = self.now_ms;
        self.routes.get_mut(&name)?.note(event, outcome, now_ms);
        Some(name)
    }

    fn note_use(&mut self, event: &Event<'_>, route: Option<&Arc<str>>, caller: (bool, u64)) {
        let Some(route) = route else { return };
        if event.reason.is_some() && event.stage != Some("limit") {
            return;
        }
        let key = self.seed.of(&[&caller.1.to_le_bytes(), route.as_bytes()]);
        let (is_consumer, minute) = (caller.0, self.now_ms / MINUTE_MS);
        let name = event.consumer.unwrap_or_default();
        let suspected = self.is_suspected(caller);
        let made = || Use::new(is_consumer.then(|| name.into()), route.clone());
        let Some((used, is_new)) = self.uses.entry(key, made) else { return };
        let ended = used.note(event.method, minute, self.now_ms);
        if let Some(facts) = self.routes.get_mut(route) {
            facts.callers += u64::from(is_new);
            if let Some(calls) = ended.filter(|_| !suspected) {
                facts.rates.add(f64::from(calls));
            }
        }
    }

    fn is_suspected(&self, (is_consumer, key): (bool, u64)) -> bool {
        let table = if is_consumer { &self.consumers } else { &self.addresses };
        table.peek(key).is_some_and(|caller| caller.is_suspected(self.now_ms))
    }

    fn judge(
        &mut self,
        event: &Event<'_>,
        outcome: Outcome,
        key: Option<u64>,
        place: &Place,
        (is_consumer, caller_key): (bool, u64),
        findings: &mut Few,
    ) {
        let now_ms = self.now_ms;
        findings.push(self.guessed(event, outcome, key));
        let table = if is_consumer { &mut self.consumers } else { &mut self.addresses };
        let name = if is_consumer { event.consumer.unwrap_or_default() } else { prefix(event.client) };
        let made = || Caller::new(shown(name).into(), is_consumer, now_ms);
        let Some((caller, _)) = table.entry(caller_key, made) else { return };
        let mut endpoint = key.and_then(|key| self.endpoints.get(key));
        window::turn(caller, now_ms, &mut self.fleet);
        count(caller, endpoint.as_deref_mut(), event, outcome, key, caller_key, self.seed, now_ms);
        let learning_ms = self.settings.learning_ms;
        let look = Look { event, outcome, now_ms, learning_ms, fleet: &self.fleet };
        let place_finding = endpoint.as_deref_mut().and_then(|endpoint| {
            findings.push(detect::errors::endpoint(endpoint, &look));
            walk(caller, endpoint, key.unwrap_or_default(), place, &look)
        });
        findings.push(place_finding);
        let endpoint = endpoint.as_deref();
        if look.outcome.is_failure() || caller.window.calls.is_multiple_of(16) {
            keep_sample(caller, endpoint, &look);
        }
        let own = [
            detect::volume::caller(caller, endpoint, &look),
            detect::errors::caller(caller, endpoint, &look),
            detect::spray::caller(caller, &look),
            detect::exfiltration::caller(caller, endpoint, &look),
        ];
        own.into_iter().for_each(|finding| findings.push(finding));
        if findings.0.iter().flatten().any(|finding| finding.who.is_some()) {
            caller.suspected_until_ms = now_ms + SAME_MS;
        }
    }

    /// Whether this success is one of somebody who guessed: the address that it comes from was refused often.
    fn guessed(&self, event: &Event<'_>, outcome: Outcome, key: Option<u64>) -> Option<Finding> {
        let consumer = event.consumer.filter(|_| outcome == Outcome::Good)?;
        let guesser = self.addresses.peek(self.seed.of(&[b"a", prefix(event.client).as_bytes()]))?;
        let endpoint = key.and_then(|key| self.endpoints.peek(key));
        detect::errors::success(guesser, consumer, endpoint, self.now_ms)
    }

    /// Tells a finding, adds it to an alert that was told before, or holds it back.
    fn tell(&mut self, finding: Finding) {
        let key = self.seed.of(&[
            finding.detector.as_str().as_bytes(),
            finding.who.as_deref().unwrap_or_default().as_bytes(),
            finding.place.as_deref().unwrap_or_default().as_bytes(),
        ]);
        if self.kept.again(key, &finding, self.now_ms, SAME_MS) {
            return;
        }
        if self.budget.allows(&finding, self.now_ms) {
            self.kept.add(key, finding, self.now_ms);
        }
    }
}

/// Findings of one event: at most one of each detector.
#[derive(Default)]
struct Few([Option<Finding>; 8]);

impl Few {
    fn push(&mut self, finding: Option<Finding>) {
        if finding.is_some()
            && let Some(place) = self.0.iter_mut().find(|place| place.is_none())
        {
            *place = finding;
        }
    }
}

/// Counts a call for its caller and endpoint.
#[expect(clippy::too_many_arguments, reason = "the facts of one event, by value")]
fn count(
    caller: &mut Caller,
    endpoint: Option<&mut Endpoint>,
    event: &Event<'_>,
    outcome: Outcome,
    key: Option<u64>,
    caller_key: u64,
    seed: Seed,
    now_ms: u64,
) {
    caller.last_ms = now_ms;
    caller.calls += 1;
    caller.minute.calls = caller.minute.calls.saturating_add(1);
    caller.window.calls = caller.window.calls.saturating_add(1);
    caller.window.bytes = caller.window.bytes.saturating_add(event.response_bytes);
    caller.day.bytes = caller.day.bytes.saturating_add(event.response_bytes);
    caller.failures.calls = caller.failures.calls.saturating_add(1);
    match key {
        Some(key) => {
            let is_new = !caller.visited.may_have(key);
            if caller.window.endpoints.note(key) && is_new {
                caller.window.first_seen = caller.window.first_seen.saturating_add(1);
            }
            caller.visited.note(key);
        }
        None => {
            caller.window.unknown.note(seed.of(&[event.path.as_bytes()]));
            caller.window.unknown_calls = caller.window.unknown_calls.saturating_add(1);
        }
    }
    if outcome.is_failure() {
        failed(caller, event, outcome, seed, now_ms);
    } else if outcome == Outcome::Good && caller.is_consumer {
        caller.failures.guesses = 0;
    }
    let Some(endpoint) = endpoint else { return };
    endpoint.last_ms = now_ms;
    endpoint.calls += 1;
    endpoint.bytes = endpoint.bytes.saturating_add(event.response_bytes);
    endpoint.good += u64::from(outcome == Outcome::Good);
    endpoint.failed += u64::from(outcome.is_failure());
    endpoint.server += u64::from(outcome == Outcome::Server);
    endpoint.anonymous += u64::from(outcome == Outcome::Good && event.identified_by.is_none());
    endpoint.callers.note(caller_key);
    endpoint.pace.calls = endpoint.pace.calls.saturating_add(1);
    if endpoint.refusals.turn(now_ms) {
        detect::errors::close(&mut endpoint.refusals, now_ms);
    }
    Refusals::bump(&mut endpoint.refusals.calls, now_ms);
    if outcome.is_failure() {
        Refusals::bump(&mut endpoint.refusals.failed, now_ms);
        endpoint.refusals.sources.note(caller_key);
    }
    if outcome == Outcome::Credential {
        Refusals::bump(&mut endpoint.refusals.credential, now_ms);
    }
    if outcome == Outcome::Server {
        Refusals::bump(&mut endpoint.refusals.server, now_ms);
    }
    if outcome == Outcome::Good {
        let (time, request) = (shape::log(event.duration_us), shape::log(event.request_bytes));
        let unusual = endpoint.shape.observe([time, request, shape::log(event.response_bytes)]);
        endpoint.unusual += u64::from(unusual.is_gated);
    }
}

fn failed(caller: &mut Caller, event: &Event<'_>, outcome: Outcome, seed: Seed, now_ms: u64) {
    let failures = &mut caller.failures;
    failures.failed = failures.failed.saturating_add(1);
    failures.forbidden += u32::from(outcome == Outcome::Forbidden);
    if outcome == Outcome::Credential {
        failures.credential = failures.credential.saturating_add(1);
        if let Some(credential) = event.credential {
            failures.accounts.note(seed.of(&[credential.as_bytes()]));
        }
        if now_ms.saturating_sub(failures.guesses_since_ms) > 15 * MINUTE_MS {
            failures.guesses = 0;
        }
        failures.guesses = failures.guesses.saturating_add(1);
        failures.guesses_since_ms = now_ms;
    }
}

/// The objects of a caller on an endpoint.
fn walk(
    caller: &mut Caller,
    endpoint: &mut Endpoint,
    key: u64,
    place: &Place,
    look: &Look<'_, '_>,
) -> Option<Finding> {
    place.object?;
    let suspected = caller.is_suspected(look.now_ms);
    let slot = caller.slot(key, look.now_ms)?;
    window::slot(slot, look.now_ms, suspected, endpoint);
    detect::enumeration::note(slot, place, look.outcome);
    let is_telling = slot.run >= 6 || slot.calls >= 12;
    let slot = *slot;
    if is_telling {
        keep_sample(caller, Some(endpoint), look);
    }
    detect::enumeration::judge(caller, &slot, endpoint, look)
}

/// Keeps some of the calls that may belong to something, with the template instead of the path.
fn keep_sample(caller: &mut Caller, endpoint: Option<&Endpoint>, look: &Look<'_, '_>) {
    if !caller.calls.is_multiple_of(4) && !caller.samples.is_empty() {
        return;
    }
    let event = look.event;
    let request = endpoint.map_or_else(|| format!("{} (unknown path)", shown(event.method)), Endpoint::shown);
    caller.sample(Sample { id: shown(event.id), at_ms: look.now_ms, request, status: event.status });
}

fn is_documented(documented: &[Documented], endpoint: &Endpoint) -> bool {
    let route = endpoint.route.as_deref().unwrap_or_default();
    documented.iter().any(|known| {
        known.route == route
            && (known.methods.is_empty() || known.methods.iter().any(|method| **method == *endpoint.method))
            && is_path(&known.path, &endpoint.template)
    })
}

/// Whether a template of ours is a path of the documents: what stands for something there stands for anything here.
fn is_path(documented: &str, template: &str) -> bool {
    let mut ours = template.split('/').filter(|segment| !segment.is_empty());
    let mut theirs = documented.split('/').filter(|segment| !segment.is_empty());
    loop {
        match (theirs.next(), ours.next()) {
            (None, None) => return true,
            (Some(known), Some(seen))
                if known.starts_with('{') || known == seen || is_stand_in(known, seen) => {}
            _ => return false,
        }
    }
}

/// An exact path may hold a number that our template made a place of.
fn is_stand_in(known: &str, seen: &str) -> bool {
    matches!(seen, "{id}" | "{name}") && known.bytes().any(|byte| byte.is_ascii_digit())
}

/// What stands for an address: of IPv6 the first 64 bits, because one host has that many.
fn prefix(client: &str) -> &str {
    if !client.contains(':') {
        return client;
    }
    match client.match_indices(':').nth(3) {
        Some((end, _)) if !client.get(..end).is_some_and(|head| head.contains("::")) => {
            client.get(..end).unwrap_or(client)
        }
        _ => client,
    }
}

/// A name for people: no control characters, and short.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(128).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("events", &self.events).finish_non_exhaustive()
    }
}
