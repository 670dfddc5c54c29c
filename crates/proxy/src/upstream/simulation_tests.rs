//! Limiter, health, ejection, retries and reloads together, under a virtual clock and a seed.
//!
//! A small world: servers that break and mend, callers, reloads that add and remove servers, active checks. What the gateway
//! does with it is the code that serves, given the time as an argument. After every step the invariants hold, or the seed
//! is printed and kept in `testdata/simulation-seeds.txt`, from where it is tried in every run. `BARTIZAN_SEEDS=1000` tries
//! more fresh ones; `BARTIZAN_SEED=7` tries one.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    num::{NonZeroU32, NonZeroU64},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::{
    ConcurrencyPlan,
    upstream::{
        ActiveCheckPlan, Balancing, EndpointAddress, EndpointPlan, PassiveCheckPlan, UpstreamPlan,
        UpstreamProtocol,
    },
};
use bartizan_limit::{
    Action, Ask, Bite, CellCache, Cells, Decision, Key, KeyFacts, KeyPart, Limit, Nanos, OnAbsent, Policy,
    Terms,
};
use bartizan_model::{Mode, OnFault};
use http::StatusCode;

use super::{
    Governor, Permit,
    balance::{Dice, Field, RoundRobin, ejected_max, least_request, power_of_two},
    health::{Outcome, report, tally},
    prepare::{PreparedUpstream, UpstreamSet},
    state::nanos,
};

/// Fresh seeds in a plain run.
const SEEDS: u64 = 16;
/// How long faults come, and how long everything is well afterwards.
const TROUBLE: Duration = Duration::from_secs(40);
const CALM: Duration = Duration::from_secs(40);
const SERVERS: usize = 6;
const RATE: u64 = 150;
const BURST: u64 = 40;
const CONCURRENCY: ConcurrencyPlan = ConcurrencyPlan { most: 30, adaptive_from: None };
const BUDGET_PERCENT: u8 = 20;
const ATTEMPTS: u32 = 3;
const EJECTED_PERCENT: u8 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Well,
    Down,
    /// So many of a hundred answers are 503.
    Flaky(u64),
}

/// What happens next; ordered by time, then by number.
#[derive(Debug)]
enum Event {
    Arrival,
    Done(u64),
    Check,
    Fault,
    Mended(usize),
    Reload,
}

/// One request that is answered.
struct UnderWay {
    set: Arc<PreparedUpstream>,
    endpoint: usize,
    _permit: Permit,
}

struct World {
    dice: Dice,
    base: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    what: HashMap<u64, Event>,
    serial: u64,
    servers: [Health; SERVERS],
    // The gateway.
    set: Arc<UpstreamSet>,
    settings: Settings,
    turns: RoundRobin,
    governor: Arc<Governor>,
    cells: Cells,
    cache: CellCache,
    policy: Arc<Policy>,
    under_way: HashMap<u64, UnderWay>,
    // What came of it.
    admitted: Vec<Duration>,
    requests: u64,
    retries: u64,
    served: u64,
}

/// What a seed draws once.
#[derive(Clone, Debug)]
struct Settings {
    balancing: Balancing,
    is_checked: bool,
    panic_percent: u8,
    slow_start: Option<Duration>,
}

fn limit_policy() -> Arc<Policy> {
    let whole = |number| NonZeroU64::new(number).unwrap();
    Arc::new(Policy::new(Terms {
        name: "all".into(),
        label: "RateLimitPolicy/all".into(),
        mode: Mode::Enforce,
        enforce_percent: 100,
        on_fault: OnFault::Deny,
        key: vec![KeyPart::Gateway],
        on_absent: OnAbsent::Skip,
        limits: vec![Limit::Rate {
            requests: whole(RATE),
            window: Duration::from_secs(1),
            burst: whole(BURST),
        }],
        action: Action::Reject,
        legacy_headers: false,
    }))
}

impl World {
    fn new(seed: u64) -> World {
        let dice = Dice::new(seed);
        let settings = Settings {
            balancing: [Balancing::RoundRobin, Balancing::LeastRequest, Balancing::PowerOfTwo]
                [(dice.roll() % 3) as usize]
                .clone(),
            is_checked: dice.roll().is_multiple_of(2),
            panic_percent: if dice.roll().is_multiple_of(2) { 50 } else { 0 },
            slow_start: dice.roll().is_multiple_of(2).then(|| Duration::from_secs(5)),
        };
        let plan = plan(&settings, &[(0, 1), (1, 2), (2, 1), (3, 3)]);
        let mut world = World {
            dice,
            base: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            what: HashMap::new(),
            serial: 0,
            servers: [Health::Well; SERVERS],
            set: prepared(plan, None),
            settings,
            turns: RoundRobin::default(),
            governor: Arc::default(),
            cells: Cells::new(1_000, [std::hash::RandomState::new(), std::hash::RandomState::new()]),
            cache: CellCache::new(16),
            policy: limit_policy(),
            under_way: HashMap::new(),
            admitted: Vec::new(),
            requests: 0,
            retries: 0,
            served: 0,
        };
        world.after(Duration::ZERO, Event::Arrival);
        world.after(Duration::from_millis(500), Event::Check);
        world.after(Duration::from_secs(3), Event::Fault);
        world.after(Duration::from_secs(7), Event::Reload);
        world
    }

    fn after(&mut self, time: Duration, event: Event) -> u64 {
        self.serial += 1;
        self.events.push(Reverse((self.now + time, self.serial)));
        self.what.insert(self.serial, event);
        self.serial
    }

    fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.dice.roll() % most + 1)
    }

    fn run(&mut self) {
        while let Some(Reverse((at, number))) = self.events.pop() {
            self.now = at;
            let is_trouble = at < TROUBLE;
            match self.what.remove(&number).expect("an event happens once") {
                Event::Arrival if at < TROUBLE + CALM => {
                    // Bursts and pauses, about twice the limit's rate in trouble and half of it in calm.
                    let pause = if is_trouble { self.millis(6) } else { self.millis(26) };
                    self.after(pause, Event::Arrival);
                    self.arrives();
                }
                Event::Check if at < TROUBLE + CALM => {
                    self.after(Duration::from_millis(500), Event::Check);
                    self.check();
                }
                Event::Fault if is_trouble => {
                    let pause = self.millis(4_000);
                    self.after(pause, Event::Fault);
                    let server = (self.dice.roll() % SERVERS as u64) as usize;
                    self.servers[server] = match self.dice.roll() % 3 {
                        0 => Health::Down,
                        1 => Health::Flaky(50),
                        _ => Health::Flaky(10),
                    };
                    let lasts = self.millis(12_000).min(TROUBLE.saturating_sub(at));
                    self.after(lasts, Event::Mended(server));
                }
                Event::Mended(server) => self.servers[server] = Health::Well,
                Event::Reload if is_trouble => {
                    let pause = self.millis(9_000);
                    self.after(pause, Event::Reload);
                    self.reload();
                }
                Event::Done(request) => {
                    let done = self.under_way.remove(&request).expect("a request ends once");
                    done.set.endpoints[done.endpoint].state.end();
                }
                Event::Arrival | Event::Check | Event::Fault | Event::Reload => {}
            }
        }
        self.end();
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn current(&self) -> Arc<PreparedUpstream> {
        Arc::clone(self.set.at(0).unwrap())
    }

    /// Other servers, other weights; what is known of those that stay is kept.
    fn reload(&mut self) {
        let mut servers: Vec<(usize, u32)> = Vec::new();
        for server in 0..SERVERS {
            if !self.dice.roll().is_multiple_of(3) {
                servers.push((server, (self.dice.roll() % 4) as u32 + 1));
            }
        }
        if servers.is_empty() {
            servers.push((0, 1));
        }
        let before = self.current();
        self.set = prepared(plan(&self.settings, &servers), Some(&self.set));
        // A document is compiled anew; the cell goes on.
        self.policy = limit_policy();
        for endpoint in &self.current().endpoints {
            let known = before.endpoints.iter().find(|known| known.plan.authority == endpoint.plan.authority);
            assert!(
                known.is_none_or(|known| Arc::ptr_eq(&known.state, &endpoint.state)),
                "a reload forgot what is known of an endpoint"
            );
        }
    }

    fn check(&mut self) {
        let set = self.current();
        let Some(plan) = &set.plan.active else { return };
        for endpoint in &set.endpoints {
            let passed = self.answers(&endpoint.plan);
            tally(&endpoint.state, passed, plan, nanos(self.instant()));
        }
    }

    fn answers(&self, endpoint: &EndpointPlan) -> bool {
        let EndpointAddress::Socket(address) = &endpoint.address else { panic!("servers have addresses") };
        match self.servers[usize::from(address.port()) - 9_000] {
            Health::Well => true,
            Health::Down => false,
            Health::Flaky(percent) => self.dice.roll() % 100 >= percent,
        }
    }

    fn arrives(&mut self) {
        let facts = KeyFacts { route: "", consumer: None, team: None, client: 0, header: &|_, _| {} };
        let Key::Of(key) = self.cells.key_of(&self.policy, &facts) else { panic!("everybody has a key") };
        let ask = Ask { policy: &self.policy, key, bite: Bite::Enforce, cost: 1, tokens: None };
        let now = Nanos(u64::try_from(self.now.as_nanos()).unwrap());
        let verdict = self.cells.reserve(&mut self.cache, now, &[ask]);
        if !matches!(verdict.decision, Decision::Admit(_)) {
            return;
        }
        self.admitted.push(self.now);
        let Some(permit) = self.governor.admit(CONCURRENCY) else {
            assert_eq!(self.under_way.len(), CONCURRENCY.most, "refused while there was room");
            return;
        };
        assert!(self.under_way.len() < CONCURRENCY.most, "more are under way than may be");
        self.requests += 1;
        self.governor.earn(BUDGET_PERCENT);
        self.send(permit);
    }

    /// Sends a request, again after failures. It sees one set from its beginning to its end.
    fn send(&mut self, permit: Permit) {
        let set = self.current();
        let mut failed = None;
        for attempt in 1..=ATTEMPTS {
            let Some(index) = self.choose(&set, failed) else { return };
            let endpoint = &set.endpoints[index];
            endpoint.state.begin();
            let answers = self.answers(&endpoint.plan);
            let was_ejected = endpoint.state.is_ejected(nanos(self.instant()));
            let outcome = match answers {
                true => Outcome::Answered(StatusCode::OK),
                false => Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE),
            };
            report(&set, index, outcome, self.instant());
            let now = nanos(self.instant());
            if !was_ejected && endpoint.state.is_ejected(now) {
                let ejected = set.endpoints.iter().filter(|one| one.state.is_ejected(now)).count();
                let most = ejected_max(set.endpoints.len(), EJECTED_PERCENT);
                assert!(ejected <= most, "{ejected} of {} are ejected", set.endpoints.len());
            }
            if answers {
                self.served += 1;
                let lasts = self.millis(180);
                let next = self.serial + 1;
                let number = self.after(lasts, Event::Done(next));
                self.under_way.insert(number, UnderWay { set, endpoint: index, _permit: permit });
                return;
            }
            endpoint.state.end();
            if attempt == ATTEMPTS || !self.governor.spend() {
                return;
            }
            self.retries += 1;
            failed = Some(index);
        }
    }

    /// The endpoint that the balancer takes, judged by what is known of all.
    fn choose(&mut self, set: &Arc<PreparedUpstream>, except: Option<usize>) -> Option<usize> {
        let now = self.instant();
        let pick = |world: &mut World, except: Option<usize>| {
            let field = Field::new(set, now, except);
            match set.plan.balancing {
                Balancing::RoundRobin => world.turns.next(&field),
                Balancing::LeastRequest => least_request(&field, &mut world.turns),
                _ => power_of_two(&field, || world.dice.roll()),
            }
        };
        let chosen = match except {
            Some(_) => pick(self, except).or_else(|| pick(self, None)),
            None => pick(self, None),
        };
        let field = Field::new(set, now, None);
        let now = nanos(now);
        let is_healthy = |index: usize| set.plan.active.is_none() || set.endpoints[index].state.is_healthy();
        let all = 0..set.endpoints.len();
        let Some(index) = chosen else {
            assert!(!all.clone().any(is_healthy) && !field.panics(), "nobody was asked while one was well");
            return None;
        };
        if field.panics() {
            return chosen;
        }
        assert!(is_healthy(index), "an endpoint was asked that its checks call ill");
        if set.endpoints[index].state.is_ejected(now) {
            let ejected = all.clone().filter(|one| set.endpoints[*one].state.is_ejected(now)).count();
            let is_left = all.clone().any(|one| is_healthy(one) && !set.endpoints[one].state.is_ejected(now));
            let most = ejected_max(set.endpoints.len(), EJECTED_PERCENT);
            assert!(ejected > most || !is_left, "an ejected endpoint was asked: {ejected} of {}", all.len());
        }
        chosen
    }

    /// What must be so after trouble and calm.
    fn end(&self) {
        let set = self.current();
        for endpoint in &set.endpoints {
            let state = &endpoint.state;
            assert_eq!(state.in_flight(), 0, "the ledger does not return to zero");
            assert!(
                !state.is_ejected(nanos(self.instant())) && (!self.settings.is_checked || state.is_healthy()),
                "{} is not back after a calm of {CALM:?}",
                endpoint.plan.authority
            );
        }
        let places: Vec<_> = (0..CONCURRENCY.most).map_while(|_| self.governor.admit(CONCURRENCY)).collect();
        assert_eq!(places.len(), CONCURRENCY.most, "places were not given back");
        let most = self.requests * u64::from(BUDGET_PERCENT) / 100 + 10;
        assert!(self.retries <= most, "{} retries of {} requests", self.retries, self.requests);
        assert!(self.served > self.requests / 4, "{} of {} were served", self.served, self.requests);
        // No stretch of time admitted more than its burst and what was earned in it, reloads or not.
        for (first, from) in self.admitted.iter().enumerate().step_by(11) {
            // Every 37th end is enough: a stretch that is too full has neighbours that are.
            for (more, until) in self.admitted.iter().enumerate().skip(first).step_by(37) {
                let earned = (*until - *from).as_secs_f64() * RATE as f64;
                let count = (more - first + 1) as f64;
                assert!(
                    count <= BURST as f64 + earned + 1.0,
                    "{count} were admitted from {from:?} to {until:?}"
                );
            }
        }
    }
}

fn plan(settings: &Settings, servers: &[(usize, u32)]) -> UpstreamPlan {
    let endpoint = |(server, weight): &(usize, u32)| {
        let port = 9_000 + *server as u16;
        EndpointPlan {
            authority: format!("10.0.0.1:{port}").into(),
            address: EndpointAddress::Socket(([10, 0, 0, 1], port).into()),
            weight: NonZeroU32::new(*weight).unwrap(),
        }
    };
    UpstreamPlan {
        name: "world".into(),
        llm: None,
        endpoints: servers.iter().map(endpoint).collect(),
        protocol: UpstreamProtocol::Http1,
        tls: None,
        balancing: settings.balancing.clone(),
        active: settings.is_checked.then(|| ActiveCheckPlan {
            path: "/".into(),
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(1),
            statuses: vec![(200, 299)],
            healthy_after: 2,
            unhealthy_after: 3,
        }),
        passive: Some(PassiveCheckPlan {
            failures: 3,
            eject_for: Duration::from_secs(3),
            ejected_percent_max: EJECTED_PERCENT,
        }),
        panic_percent: settings.panic_percent,
        slow_start: settings.slow_start,
        credential: None,
        connect_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        connections_max: 1,
        idle_max: 1,
    }
}

fn prepared(plan: UpstreamPlan, before: Option<&UpstreamSet>) -> Arc<UpstreamSet> {
    let secrets = |_: &bartizan_model::Reference| Err("none".to_owned());
    Arc::new(UpstreamSet::prepare(&[Arc::new(plan)], &secrets, before).expect("it can be prepared"))
}

fn kept() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/simulation-seeds.txt")
}

#[test]
fn whatever_breaks_and_mends_the_invariants_hold() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let text = std::fs::read_to_string(kept()).expect("the kept seeds are there");
    let known = text.lines().filter_map(|line| line.split('#').next()?.trim().parse::<u64>().ok());
    let seeds: Vec<u64> = match number("BARTIZAN_SEED") {
        Some(seed) => vec![seed],
        None => known.chain(0..number("BARTIZAN_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    for seed in seeds {
        let ran = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        let Err(cause) = ran else { continue };
        let cause = cause.downcast_ref::<String>().map_or("see above", String::as_str);
        if !text.lines().any(|line| line.starts_with(&format!("{seed} "))) {
            let line = format!("{seed} # {}\n", cause.lines().next().unwrap_or_default());
            std::fs::write(kept(), text.clone() + &line).expect("the seed can be kept");
        }
        panic!("seed {seed}: {cause} (it was kept; BARTIZAN_SEED={seed} tries it alone)");
    }
}

#[test]
fn a_seed_gives_the_same_world_each_time() {
    let outcome = || {
        let mut world = World::new(5);
        world.run();
        (world.requests, world.retries, world.served, world.admitted.len())
    };
    assert_eq!(outcome(), outcome());
}
