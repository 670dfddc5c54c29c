//! A compiled rule set: immutable, shared by every session, with everything resolved that can be known before a
//! request: where `skipAfter` leads, which rules a `ctl` takes out, which chains of transformations exist.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    body::BodyLimits,
    error::{LoadError, Place, Problem},
    gate::{Gate, Row, set},
    operator::Operator,
    pattern::Requirement,
    plan::{Group, Groups, LinkPlan, RulePlan, Trie},
    rule::{Control, Effect, Exclusion, Phase, Removal, Rule, Template, Variable},
    seclang::indices,
    session::Start,
};

/// How matches are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineMode {
    /// Matches are recorded; nothing is refused.
    Detect,
    /// A refusal is a refusal.
    Enforce,
    /// Nothing is judged.
    Off,
}

impl EngineMode {
    /// Reads `On`, `DetectionOnly`, `Off`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "on" => Some(Self::Enforce),
            "detectiononly" => Some(Self::Detect),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// What happens to a body above its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// The inspection is incomplete.
    Reject,
    /// Its start is judged; the record says so.
    ReadStart,
}

/// The settings of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How matches are treated.
    pub mode: EngineMode,
    /// Whether request bodies are read.
    pub request_body_access: bool,
    /// The longest request body.
    pub request_body_bytes_max: usize,
    /// The longest request body without files.
    pub request_body_no_files_bytes_max: usize,
    /// What happens above it.
    pub on_request_limit: OnLimit,
    /// The deepest nesting of JSON and XML.
    pub json_depth_max: usize,
    /// The most arguments.
    pub arguments_max: usize,
    /// The most uploaded files.
    pub files_max: usize,
    /// Whether response bodies are read.
    pub response_body_access: bool,
    /// The most bytes of a response body that are read.
    pub response_body_bytes_max: usize,
    /// What happens above it.
    pub on_response_limit: OnLimit,
    /// The media types of response bodies that are read.
    pub response_types: Vec<String>,
    /// The most work one exchange may cause, in bytes looked at by tests; beyond it the inspection is incomplete.
    pub work_max: u64,
    /// The most matches recorded; beyond it the inspection is incomplete.
    pub matches_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: EngineMode::Enforce,
            request_body_access: true,
            // The recommended configuration of the reference engines.
            request_body_bytes_max: 13_107_200,
            request_body_no_files_bytes_max: 1 << 20,
            on_request_limit: OnLimit::Reject,
            json_depth_max: 64,
            arguments_max: 1000,
            files_max: 100,
            response_body_access: true,
            response_body_bytes_max: 512 << 10,
            on_response_limit: OnLimit::ReadStart,
            response_types: ["text/plain", "text/html", "text/xml"].map(str::to_owned).to_vec(),
            // Each byte of a 1 MiB body by a thousand tests.
            work_max: 1 << 30,
            matches_max: 1000,
        }
    }
}

impl Settings {
    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            values_max: self.arguments_max,
            depth_max: self.json_depth_max,
            files_max: self.files_max,
        }
    }
}

/// Something the operator should know about a set that did load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where it is written.
    pub place: Place,
    /// What to know.
    pub text: String,
}

/// A rule or a marker, in the order written.
pub(crate) enum Item {
    Marker(Arc<str>),
    Rule(usize),
}

/// A compiled rule set.
pub struct RuleSet {
    pub(crate) settings: Settings,
    pub(crate) rules: Vec<Rule>,
    pub(crate) plans: Vec<RulePlan>,
    /// Rules of each phase, in order.
    pub(crate) phases: [Vec<u32>; 5],
    pub(crate) trie: Trie,
    pub(crate) gate: Gate,
    /// The values that gated tests look at.
    pub(crate) groups: Vec<Group>,
    /// Which variables any rule names.
    pub(crate) used: Vec<bool>,
    /// Tells this set from any other of the process.
    pub(crate) number: u64,
    /// How an exchange without a policy's changes begins.
    pub(crate) start: OnceLock<Arc<Start>>,
    notices: Vec<Notice>,
}

/// Every compiled or changed set has a number of its own.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl RuleSet {
    pub(crate) fn compile(
        settings: Settings,
        rules: Vec<Rule>,
        items: &[Item],
        mut notices: Vec<Notice>,
    ) -> Result<Self, LoadError> {
        let mut phases: [Vec<u32>; 5] = Default::default();
        // For each rule its place in its phase; for each marker how many rules of each phase stand before it.
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut markers: HashMap<&str, Vec<[usize; 5]>> = HashMap::new();
        for item in items {
            match item {
                Item::Marker(name) => {
                    let counts = std::array::from_fn(|phase| phases.get(phase).map_or(0, Vec::len));
                    markers.entry(name).or_default().push(counts);
                }
                Item::Rule(index) => {
                    let Some(rule) = rules.get(*index) else { continue };
                    if let Some(phase) = phases.get_mut(rule.phase.index()) {
                        places.insert(*index, phase.len());
                        phase.push(*index as u32);
                    }
                }
            }
        }
        let mut trie = Trie::new();
        let mut requirements: Vec<Requirement> = Vec::new();
        let mut groups = Groups::default();
        let mut plans = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let place = places.get(&index).copied();
            let mut links = Vec::with_capacity(rule.links.len());
            for link in &rule.links {
                let node = trie.node(&link.transforms);
                let gated = place.is_some() && !link.negated;
                let requirement =
                    if gated { link.operator.as_ref().and_then(Operator::requirement) } else { None };
                let gate = requirement.map(|requirement| {
                    requirements.push(requirement);
                    (requirements.len() - 1) as u32
                });
                let group = |target| if gate.is_some() { groups.of(target, link, node) } else { None };
                let of_targets = link.targets.include.iter().map(group).collect();
                let removed = link.effects.iter().map(|effect| removed(&rules, effect)).collect();
                if link.effects.iter().any(|effect| matches!(effect, Effect::Open { .. })) {
                    notices.push(Notice {
                        place: link.place.clone(),
                        text: "the collection it opens ends with the exchange".to_owned(),
                    });
                }
                links.push(LinkPlan { node, gate, groups: of_targets, removed });
            }
            let go_on_at = match (&rule.skip_after, place) {
                (Some(marker), Some(place)) => Some(behind_marker(&markers, marker, rule, place)?),
                (None, Some(place)) if rule.skip > 0 => Some(place + 1 + rule.skip as usize),
                _ => None,
            };
            let first = links.first().and_then(|link: &LinkPlan| {
                let groups: Option<Box<[u32]>> = link.groups.iter().copied().collect();
                link.gate.zip(groups.filter(|groups| !groups.is_empty()))
            });
            plans.push(RulePlan { links, first, go_on_at });
        }
        Ok(Self {
            settings,
            used: used(&rules),
            rules,
            plans,
            phases,
            trie,
            gate: Gate::new(&requirements),
            groups: groups.all,
            number: next_number(),
            start: OnceLock::new(),
            notices,
        })
    }

    /// The settings it was loaded with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes settings, for a caller whose own documents say otherwise.
    #[must_use]
    pub fn with_settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.changed()
    }

    /// The rules that run.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.phases.iter().flatten().filter_map(|index| self.rules.get(*index as usize))
    }

    /// What the operator should know.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Whether any rule runs in a phase.
    #[must_use]
    pub fn has_phase(&self, phase: Phase) -> bool {
        self.phases.get(phase.index()).is_some_and(|rules| !rules.is_empty())
    }

    /// Builds every pattern now, so that none is built while a request waits.
    ///
    /// # Errors
    /// The rule whose pattern is too large.
    pub fn warm(&self) -> Result<(), LoadError> {
        for rule in self.rules() {
            for link in &rule.links {
                if let Some(Operator::Pattern(pattern)) = &link.operator
                    && pattern.warm().is_err()
                {
                    return Err(LoadError {
                        place: link.place.clone(),
                        problem: Problem::Pattern("its automaton is larger than the limit".to_owned()),
                    });
                }
            }
        }
        Ok(())
    }

    /// The same set without its gate: every test runs on every value. For proofs that the gate shuts nothing out.
    #[must_use]
    pub fn without_gate(mut self) -> Self {
        for plan in &mut self.plans {
            plan.first = None;
            for link in &mut plan.links {
                link.gate = None;
                link.groups.fill(None);
            }
        }
        self.changed()
    }

    /// What was found out about the set as it was is forgotten.
    fn changed(mut self) -> Self {
        self.number = next_number();
        self.start = OnceLock::new();
        self
    }

    /// The bits of the rules a removal means.
    pub(crate) fn row(&self, removal: &Removal) -> Row {
        row(&self.rules, removal)
    }

    pub(crate) fn uses(&self, variable: Variable) -> bool {
        self.used.get(variable.index()).copied().unwrap_or(false)
    }
}

/// The variables that rules look at or name in texts.
fn used(rules: &[Rule]) -> Vec<bool> {
    let mut used = vec![false; Variable::COUNT];
    let mut mark = |variable: Variable| {
        if let Some(place) = used.get_mut(variable.index()) {
            *place = true;
        }
    };
    for rule in rules {
        let links = rule.links.iter();
        links.flat_map(|link| &link.targets.include).for_each(|target| mark(target.variable));
        rule.templates().flat_map(Template::variables).for_each(&mut mark);
    }
    used
}

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "RuleSet of {} rules", self.rules().count())
    }
}

fn removed(rules: &[Rule], effect: &Effect) -> Option<Row> {
    match effect {
        Effect::Control(Control::RemoveRules(removal) | Control::RemoveTargets(removal, _)) => {
            Some(row(rules, removal))
        }
        _ => None,
    }
}

fn row(rules: &[Rule], removal: &Removal) -> Row {
    let mut row = vec![0_u64; rules.len().div_ceil(64)].into_boxed_slice();
    for index in indices(rules, removal) {
        set(&mut row, index as u32);
    }
    row
}

fn behind_marker(
    markers: &HashMap<&str, Vec<[usize; 5]>>,
    name: &str,
    rule: &Rule,
    place: usize,
) -> Result<usize, LoadError> {
    let phase = rule.phase.index();
    markers
        .get(name)
        .into_iter()
        .flatten()
        .filter_map(|counts| counts.get(phase).copied())
        .find(|behind| *behind > place)
        .ok_or_else(|| LoadError {
            place: rule.place.clone(),
            problem: Problem::MarkerMissing(name.to_owned()),
        })
}

/// Says whether an exclusion leaves out everything of a variable.
pub(crate) fn excludes_all(exclusions: &[Exclusion], variable: Variable) -> bool {
    exclusions.iter().any(|exclusion| {
        matches!(exclusion.selector, crate::rule::Selector::All) && exclusion.covers(variable, b"")
    })
}
