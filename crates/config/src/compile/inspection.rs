//! `InspectionPolicy` → rules that are loaded once, and what the policy changes about them on each route.
//!
//! A rule set is immutable and large (the Core Rule Set takes tens of megabytes with its automata), so policies that name
//! the same files share one. What differs per policy and route is a small overlay.

use std::{collections::HashMap, path::Path, sync::Arc};

use bartizan_inspect::{
    EngineMode, Loader, OnLimit, Overlay, OverlayError, RuleSet, Settings,
    leak::{LeakClass, LeakGroup, LeakScanner},
    load_baseline,
    overlay::Rules,
    rule::{Disruption, Phase, Rule},
};
use bartizan_message::MethodSet;
use bartizan_model::{
    document::{
        Document, Kind, Spec,
        common::TargetKind,
        inspection::{
            BodySpec, CoreRuleSet, InspectionPhase, InspectionPolicySpec, OnEncoded, OnLeak, OnOversize,
            RuleModeWord, RuleSetSpec,
        },
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::RuleRange,
};

use super::{
    attach::{Scoped, Target, targets},
    index::{Index, spec_of},
    label,
    policy::bite,
};
use crate::snapshot::{Bite, BodyPlan, InspectionPlan, LeakPlan, Oversize};

/// 64 MiB: more than is held in memory for one message is never judged.
pub(super) const BODY_BYTES_MAX: u64 = 64 << 20;
/// The most notices of a rule set that are told.
const NOTICES_MAX: usize = 5;

/// What an inspection can be attached to.
pub(super) const TARGETS: &[TargetKind] = &[TargetKind::Listener, TargetKind::Route, TargetKind::Consumer];

/// A policy before it is known on which route.
pub(super) struct InspectionTerms {
    label: Arc<str>,
    bite: Bite,
    rules: Arc<RuleSet>,
    paranoia: u8,
    inbound: u64,
    outbound: u64,
    changes: Vec<RuleChange>,
    request: Option<BodyPlan>,
    response: Option<BodyPlan>,
    leaks: Option<LeakPlan>,
}

/// A change to some rules, on some routes.
struct RuleChange {
    rules: Vec<Rules>,
    what: What,
    /// Empty: on all.
    routes: Vec<Arc<str>>,
}

enum What {
    Remove,
    Shadow,
    Exclude(Vec<String>),
}

/// Compiles all policies.
pub(super) fn policies<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, InspectionTerms>> {
    let mut library = Library::default();
    let mut scoped = Vec::new();
    for document in index.of(Kind::InspectionPolicy) {
        let Some(spec) = spec_of!(document, InspectionPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        let targets = targets(index, &spec.target_refs, TARGETS, problems);
        check_routes_of_exclusions(spec, targets.iter().any(Target::is_consumer), problems);
        let Some(plan) = terms(index, &mut library, document, spec, bite, problems) else { continue };
        scoped.push(Scoped { document, plan: Arc::new(plan), bite, allow_override: false, targets });
    }
    scoped
}

/// A consumer's policies are the same on every route, so nothing in them can hold for some routes.
fn check_routes_of_exclusions(spec: &InspectionPolicySpec, of_consumer: bool, problems: &mut Problems) {
    for exclusion in spec.exclusions.iter().filter(|exclusion| of_consumer && !exclusion.routes.is_empty()) {
        let message =
            "a policy on a Consumer is the same on every route, so an exclusion in it cannot name routes";
        problems.push(
            Problem::new(Code::FieldsClash, exclusion.at, "spec.exclusions", message)
                .hint("leave `routes` out, or attach the policy to those routes"),
        );
    }
}

fn terms(
    index: &Index<'_>,
    library: &mut Library,
    document: &Document,
    spec: &InspectionPolicySpec,
    bite: Bite,
    problems: &mut Problems,
) -> Option<InspectionTerms> {
    let request = body(&spec.request, "spec.request", problems);
    let response = body(&spec.response.body(), "spec.response", problems);
    let leaks = library.leaks(spec, problems);
    let has = |phase| spec.phases.contains(&phase);
    let rules = library.load(index, document, &spec.rule_sets, problems)?;
    let terms = InspectionTerms {
        label: label(Kind::InspectionPolicy, document.name.as_str()),
        bite,
        paranoia: spec.paranoia.get(),
        inbound: spec.thresholds.inbound.get().get(),
        outbound: spec.thresholds.outbound.get().get(),
        changes: changes(index, spec, &rules, problems),
        request: has(InspectionPhase::Request).then_some(request),
        response: has(InspectionPhase::Response).then_some(response),
        leaks,
        rules,
    };
    Some(terms)
}

fn body(spec: &BodySpec, path: &str, problems: &mut Problems) -> BodyPlan {
    let bytes = spec.body_bytes.get();
    if bytes == 0 || bytes > BODY_BYTES_MAX {
        let message = format!("between 1 byte and {} MiB of a body can be judged", BODY_BYTES_MAX >> 20);
        problems.push(Problem::new(Code::BadValue, spec.body_bytes.at, format!("{path}.bodyBytes"), message));
    }
    BodyPlan {
        bytes_max: usize::try_from(bytes.min(BODY_BYTES_MAX)).unwrap_or(usize::MAX),
        oversize: match *spec.on_oversize {
            OnOversize::Deny => Oversize::Deny,
            OnOversize::JudgeStart => Oversize::JudgeStart,
            OnOversize::Allow => Oversize::Pass,
        },
        encoded_passes: *spec.on_encoded == OnEncoded::Allow,
    }
}

// === rules ===

/// The rule sets of a set of documents, by what they are loaded from.
#[derive(Default)]
struct Library {
    scanner: Option<Arc<LeakScanner>>,
    loaded: HashMap<Vec<Part>, Option<Arc<RuleSet>>>,
}

/// A piece of a rule set.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Part {
    /// The gateway's own rules.
    Baseline,
    /// A file or a pattern of files; whether it belongs to a set that may ask for look-ups nobody does here.
    File(String, bool),
}

impl Library {
    fn leaks(&mut self, spec: &InspectionPolicySpec, problems: &mut Problems) -> Option<LeakPlan> {
        let leaks = &spec.response.leaks;
        if **leaks == OnLeak::Off {
            return None;
        }
        let path = "spec.response.leaks";
        if !spec.phases.contains(&InspectionPhase::Response) {
            let message = "answers are not judged, so nobody looks for secrets in them";
            problems.push(
                Problem::new(Code::FieldsClash, leaks.at, path, message)
                    .hint("write `phases: [request, response]`"),
            );
            return None;
        }
        if self.scanner.is_none() {
            // Tokens of callers are in honest answers too.
            let honest = |class: &&LeakClass| class.group() != LeakGroup::Token;
            let classes: Vec<LeakClass> = LeakClass::ALL.iter().filter(honest).copied().collect();
            match LeakScanner::new(&classes) {
                Ok(scanner) => self.scanner = Some(Arc::new(scanner)),
                Err(error) => problems.push(Problem::new(Code::BadRules, leaks.at, path, error.to_string())),
            }
        }
        Some(LeakPlan { scanner: self.scanner.clone()?, masks: **leaks == OnLeak::Mask })
    }

    fn load(
        &mut self,
        index: &Index<'_>,
        document: &Document,
        sets: &[Spanned<RuleSetSpec>],
        problems: &mut Problems,
    ) -> Option<Arc<RuleSet>> {
        let mut parts: Vec<(Part, Span)> = Vec::new();
        let mut complete = true;
        for set in sets {
            match parts_of(index, document, set) {
                Ok(found) => parts.extend(found.into_iter().map(|part| (part, set.at))),
                Err(problem) => {
                    problems.push(problem);
                    complete = false;
                }
            }
        }
        if !complete {
            return None;
        }
        let key: Vec<Part> = parts.iter().map(|(part, _)| part.clone()).collect();
        if let Some(known) = self.loaded.get(&key) {
            // What is wrong with it was told where it was named first; it is wrong here all the same.
            if known.is_none() {
                let at = parts.first().map_or(document.name.at, |(_, at)| *at);
                problems.push(Problem::new(
                    Code::BadRules,
                    at,
                    RULE_SETS,
                    "the same rules could not be loaded",
                ));
            }
            return known.clone();
        }
        let loaded = read(index, &parts, problems).map(Arc::new);
        self.loaded.insert(key, loaded.clone());
        loaded
    }
}

const RULE_SETS: &str = "spec.ruleSets";

fn parts_of(
    index: &Index<'_>,
    document: &Document,
    set: &Spanned<RuleSetSpec>,
) -> Result<Vec<Part>, Problem> {
    match &**set {
        RuleSetSpec::Own(_) => Ok(vec![Part::Baseline]),
        RuleSetSpec::Files(files) => {
            let path = |path: &Spanned<String>| Part::File(index.path(document, path), false);
            Ok(files.files.iter().map(path).collect())
        }
        RuleSetSpec::Crs(crs) => core_rule_set(index, document, set.at, crs),
    }
}

/// The setup file, then the rules. Without its setup the set refuses every request, so it must be found.
fn core_rule_set(
    index: &Index<'_>,
    document: &Document,
    at: Span,
    crs: &CoreRuleSet,
) -> Result<Vec<Part>, Problem> {
    let folder = index.path(document, &crs.crs);
    let wrong = |message: String, hint: &str| {
        Err(Problem::new(Code::BadRules, at, RULE_SETS, message).hint(hint.to_owned()))
    };
    if !Path::new(&folder).join("rules").is_dir() {
        return wrong(
            format!("there is no folder `rules` in `{folder}`"),
            "name the folder of the Core Rule Set; Debian has it in the package `modsecurity-crs`",
        );
    }
    let own = [format!("{folder}/crs-setup.conf")];
    let packaged =
        folder.starts_with("/usr/share/").then(|| "/etc/modsecurity/crs/crs-setup.conf".to_owned());
    let example = [format!("{folder}/crs-setup.conf.example")];
    let setup = match &crs.setup {
        Some(setup) => Some(index.path(document, setup)),
        None => own.into_iter().chain(packaged).chain(example).find(|path| Path::new(path).is_file()),
    };
    let Some(setup) = setup else {
        return wrong(
            format!("there is no `crs-setup.conf` in `{folder}`"),
            "name the set's setup file in `setup`; without it the set refuses everything",
        );
    };
    Ok(vec![Part::File(setup, true), Part::File(format!("{folder}/rules/*.conf"), true)])
}

/// Loads the pieces as one set.
fn read(index: &Index<'_>, parts: &[(Part, Span)], problems: &mut Problems) -> Option<RuleSet> {
    let files = index.rule_files();
    let mut loader = Loader::new(files);
    if parts.iter().any(|(part, _)| matches!(part, Part::File(_, true))) {
        loader.tolerate_lookups();
    }
    let first = parts.first().map_or(Span::SET, |(_, at)| *at);
    let wrong = |at: Span, message: String| Problem::new(Code::BadRules, at, RULE_SETS, message);
    for (part, at) in parts {
        let loaded = match part {
            Part::Baseline => load_baseline(&mut loader),
            Part::File(path, _) => loader.file(path).map(|_| ()),
        };
        if let Err(error) = loaded {
            problems.push(wrong(*at, error.to_string()));
            return None;
        }
    }
    let set = match loader.finish() {
        Ok(set) => set.with_settings(settle),
        Err(error) => {
            problems.push(wrong(first, error.to_string()));
            return None;
        }
    };
    for notice in set.notices().iter().take(NOTICES_MAX) {
        problems.push(wrong(first, format!("{}: {}", notice.place, notice.text)).warning());
    }
    if let Some(more) = set.notices().len().checked_sub(NOTICES_MAX).filter(|more| *more > 0) {
        problems.push(wrong(first, format!("the rules have {more} more notices like these")).warning());
    }
    Some(set)
}

/// The policy says what is read of bodies and whether rules bite; rule files do not.
fn settle(settings: &mut Settings) {
    let most = BODY_BYTES_MAX as usize;
    settings.mode = EngineMode::Enforce;
    settings.request_body_access = true;
    settings.request_body_bytes_max = most;
    settings.request_body_no_files_bytes_max = most;
    settings.on_request_limit = OnLimit::Reject;
    settings.response_body_access = true;
    settings.response_body_bytes_max = most;
    settings.on_response_limit = OnLimit::Reject;
    // What APIs answer with, beside what rule files name.
    for kind in ["application/json", "application/problem+json", "application/xml"] {
        if !settings.response_types.iter().any(|known| known == kind) {
            settings.response_types.push(kind.to_owned());
        }
    }
}

// === changes ===

fn changes(
    index: &Index<'_>,
    spec: &InspectionPolicySpec,
    set: &RuleSet,
    problems: &mut Problems,
) -> Vec<RuleChange> {
    let mut changes = Vec::new();
    for exclusion in &spec.exclusions {
        let path = "spec.exclusions";
        let rules = rules_of(&exclusion.rules, &exclusion.tags);
        let mut routes = Vec::new();
        for route in &exclusion.routes {
            if index.find(Kind::Route, route, "spec.exclusions.routes", problems).is_some() {
                routes.push(Arc::from(route.as_str()));
            }
        }
        let targets: Vec<String> = exclusion.targets.iter().map(|target| target.value.clone()).collect();
        let what = if targets.is_empty() { What::Remove } else { What::Exclude(targets) };
        changes.extend(checked(RuleChange { rules, what, routes }, set, exclusion.at, path, problems));
    }
    for mode in &spec.rule_modes {
        let what = match mode.mode {
            RuleModeWord::Shadow => What::Shadow,
            RuleModeWord::Off => What::Remove,
        };
        let change = RuleChange { rules: rules_of(&mode.rules, &mode.tags), what, routes: Vec::new() };
        changes.extend(checked(change, set, mode.at, "spec.ruleModes", problems));
    }
    changes
}

fn rules_of(ranges: &[Spanned<RuleRange>], tags: &[Spanned<String>]) -> Vec<Rules> {
    let ranges = ranges.iter().map(|range| Rules::Ids(range.first, range.last));
    ranges.chain(tags.iter().map(|tag| Rules::Tag(tag.value.clone()))).collect()
}

/// The change if it means something in the set.
fn checked(
    change: RuleChange,
    set: &RuleSet,
    at: Span,
    path: &str,
    problems: &mut Problems,
) -> Option<RuleChange> {
    if change.rules.is_empty() {
        problems.push(
            Problem::new(Code::MissingField, at, path, "it says neither `rules` nor `tags`")
                .hint("name the rules, for example `rules: [942100]`"),
        );
        return None;
    }
    match apply(Overlay::new(), set, &change) {
        Ok(_) => Some(change),
        Err(error) => {
            let message = match error {
                OverlayError::NoRule(rules) => {
                    format!("no rule of the policy's rule sets is meant by {rules}")
                }
                OverlayError::Target(problem) => problem.to_string(),
            };
            problems.push(Problem::new(Code::BadRules, at, path, message));
            None
        }
    }
}

fn apply(overlay: Overlay, set: &RuleSet, change: &RuleChange) -> Result<Overlay, OverlayError> {
    change.rules.iter().try_fold(overlay, |overlay, rules| match &change.what {
        What::Remove => overlay.remove(set, rules),
        What::Shadow => overlay.shadow(set, rules),
        What::Exclude(targets) => {
            targets.iter().try_fold(overlay, |overlay, target| overlay.exclude(set, rules, target))
        }
    })
}

// === routes ===

/// Policies as they apply to routes; routes that differ in nothing share.
#[derive(Default)]
pub(super) struct Binder {
    bound: HashMap<(usize, u8, Arc<str>), Arc<InspectionPlan>>,
}

impl Binder {
    /// A policy on a route that publishes `methods`.
    pub(super) fn bind(
        &mut self,
        terms: &Arc<InspectionTerms>,
        route: &Arc<str>,
        methods: MethodSet,
    ) -> Arc<InspectionPlan> {
        let differs = terms.changes.iter().any(|change| !change.routes.is_empty());
        let name = if differs { route.clone() } else { Arc::from("") };
        let bits =
            methods.iter().filter_map(|method| MethodSet::index(&method)).fold(0, |bits, at| bits | 1 << at);
        let key = (Arc::as_ptr(terms).addr(), bits, name);
        self.bound.entry(key).or_insert_with(|| Arc::new(terms.bind(route, methods))).clone()
    }
}

impl InspectionTerms {
    /// Whether rules are off or only watch.
    pub(super) fn loosens(&self) -> bool {
        self.changes.iter().any(|change| !matches!(change.what, What::Exclude(_)))
    }

    /// Where only answers are judged, rules for requests decide nothing.
    fn without_request_decisions(&self, overlay: Overlay) -> Overlay {
        let decides = |rule: &&Rule| rule.phase <= Phase::RequestBody && rule.disruption != Disruption::Pass;
        self.rules.rules().filter(decides).fold(overlay, |overlay, rule| {
            overlay.clone().shadow(&self.rules, &Rules::Ids(rule.id, rule.id)).unwrap_or(overlay)
        })
    }

    fn bind(&self, route: &str, methods: MethodSet) -> InspectionPlan {
        let methods: Vec<String> = methods.iter().map(|method| method.as_str().to_owned()).collect();
        let paranoia = self.paranoia.to_string();
        let mut overlay = Overlay::new().mode(EngineMode::Enforce);
        // The names of version 4, then those of 3.3.
        for name in [
            "blocking_paranoia_level",
            "detection_paranoia_level",
            "paranoia_level",
            "executing_paranoia_level",
        ] {
            overlay = overlay.variable(name, &paranoia);
        }
        overlay = overlay
            .variable("inbound_anomaly_score_threshold", &self.inbound.to_string())
            .variable("outbound_anomaly_score_threshold", &self.outbound.to_string())
            // Which methods there are the route says; a rule set's own list would refuse PUT, PATCH and DELETE.
            .variable("allowed_methods", &methods.join(" "));
        if self.request.is_none() {
            overlay = self.without_request_decisions(overlay);
        }
        for change in &self.changes {
            if change.routes.is_empty() || change.routes.iter().any(|name| **name == *route) {
                // Each was applied once already, so it can be again; a change that cannot only leaves rules stricter.
                overlay = apply(overlay.clone(), &self.rules, change).unwrap_or(overlay);
            }
        }
        InspectionPlan {
            label: self.label.clone(),
            bite: self.bite,
            rules: self.rules.clone(),
            watching: Arc::new(overlay.clone().mode(EngineMode::Detect)),
            enforced: Arc::new(overlay),
            request: self.request,
            response: self.response,
            leaks: self.leaks.clone(),
        }
    }
}
