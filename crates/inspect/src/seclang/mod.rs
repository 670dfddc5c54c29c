//! SecLang: text into typed rules. Whatever this engine does not do is an error with file and line.

mod action;
mod directive;
mod lex;
mod operator;
mod target;
mod update;

use std::{collections::HashMap, sync::Arc};

use action::{Actions, Decision};
use lex::Directive;

use crate::{
    error::{LoadError, Place, Problem},
    operator::Operator,
    rule::{Disruption, Exclusion, Link, Phase, Removal, Rule, Targets},
    ruleset::{Item, Notice, RuleSet, Settings},
    source::{Files, beside},
};

/// 32 levels of files that include files.
const INCLUDE_DEPTH_MAX: usize = 32;

/// Collects rule text and compiles it into a [`RuleSet`].
pub struct Loader<'f> {
    files: &'f dyn Files,
    settings: Settings,
    rules: Vec<Rule>,
    items: Vec<Item>,
    notices: Vec<Notice>,
    ids: HashMap<u32, Place>,
    defaults: [Actions; 5],
    chain: Option<Open>,
    tolerate_lookups: bool,
}

/// A chain that is not finished.
struct Open {
    rule: Rule,
}

impl<'f> Loader<'f> {
    /// An empty set, reading files through `files`.
    #[must_use]
    pub fn new(files: &'f dyn Files) -> Self {
        Self {
            files,
            settings: Settings::default(),
            rules: Vec::new(),
            items: Vec::new(),
            notices: Vec::new(),
            ids: HashMap::new(),
            defaults: Default::default(),
            chain: None,
            tolerate_lookups: false,
        }
    }

    /// Lets rules load that ask a GeoIP database or a block list in DNS, though nobody is asked here: such a test never
    /// holds, and each is in [`RuleSet::notices`]. Without this they are errors. CRS 3.3 has two, both off by default.
    pub fn tolerate_lookups(&mut self) -> &mut Self {
        self.tolerate_lookups = true;
        self
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The first thing in it that cannot be loaded.
    pub fn file(&mut self, path: &str) -> Result<&mut Self, LoadError> {
        let place = Place { file: Arc::from(path), line: 0 };
        self.include(path, &place, 0)?;
        Ok(self)
    }

    /// Adds text under a name.
    ///
    /// # Errors
    /// The first thing in it that cannot be loaded.
    pub fn text(&mut self, name: &str, text: &str) -> Result<&mut Self, LoadError> {
        self.read(&Arc::from(name), text, 0)?;
        Ok(self)
    }

    /// Compiles what was collected.
    ///
    /// # Errors
    /// A marker that does not exist, an unfinished chain.
    pub fn finish(self) -> Result<RuleSet, LoadError> {
        if let Some(open) = self.chain {
            return Err(LoadError {
                place: open.rule.place,
                problem: Problem::Chain("the last rule expects another one behind it"),
            });
        }
        RuleSet::compile(self.settings, self.rules, &self.items, self.notices)
    }

    fn include(&mut self, path: &str, place: &Place, depth: usize) -> Result<(), LoadError> {
        if depth > INCLUDE_DEPTH_MAX {
            return Err(at(place, Problem::IncludeDepth(INCLUDE_DEPTH_MAX)));
        }
        let paths = if path.contains('*') {
            self.files.list(path).map_err(|reason| at(place, unreadable(path, reason)))?
        } else {
            vec![path.to_owned()]
        };
        for path in paths {
            let bytes = self.files.read(&path).map_err(|reason| at(place, unreadable(&path, reason)))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| at(place, unreadable(&path, "it is not UTF-8 text".to_owned())))?;
            self.read(&Arc::from(path.as_str()), &text, depth)?;
        }
        Ok(())
    }

    fn read(&mut self, file: &Arc<str>, text: &str, depth: usize) -> Result<(), LoadError> {
        for directive in lex::directives(file, text)? {
            let place = directive.place.clone();
            self.directive(directive, depth).map_err(|error| match error {
                Failure::Here(problem) => at(&place, problem),
                Failure::Elsewhere(error) => error,
            })?;
        }
        Ok(())
    }

    fn directive(&mut self, directive: Directive, depth: usize) -> Result<(), Failure> {
        let name = directive.name.to_ascii_lowercase();
        if self.chain.is_some() && !matches!(name.as_str(), "secrule" | "secaction") {
            return Err(Problem::Chain("a rule expects another one directly behind it").into());
        }
        match name.as_str() {
            "secrule" => self.rule(&directive)?,
            "secaction" => self.action(&directive)?,
            "secmarker" => self.items.push(Item::Marker(Arc::from(single(&directive)?))),
            "secdefaultaction" => self.default_action(single(&directive)?)?,
            "include" => {
                let path = beside(&directive.place.file, single(&directive)?);
                self.include(&path, &directive.place, depth + 1).map_err(Failure::Elsewhere)?;
            }
            "secruleremovebyid" | "secruleremovebytag" | "secruleremovebymsg" => {
                let removal = update::removal(&name, &directive.arguments.join(" "))?;
                self.remove(&removal)?;
            }
            "secruleupdatetargetbyid" | "secruleupdatetargetbytag" | "secruleupdatetargetbymsg" => {
                self.update_targets(&name, &directive)?;
            }
            "secruleupdateactionbyid" => self.update_actions(&directive)?,
            _ => directive::engine(&mut self.settings, &mut self.notices, &directive)?,
        }
        Ok(())
    }

    fn rule(&mut self, directive: &Directive) -> Result<(), Problem> {
        let (targets, test, actions) = match directive.arguments.as_slice() {
            [targets, test] => (targets, test, ""),
            [targets, test, actions] => (targets, test, actions.as_str()),
            _ => return Err(Problem::Text("SecRule takes targets, an operator and actions")),
        };
        let targets = target::targets(targets)?;
        if targets.include.is_empty() {
            return Err(Problem::Missing("a variable"));
        }
        let file = Arc::clone(&directive.place.file);
        let data = |path: &str| {
            let path = beside(&file, path);
            self.files.read(&path).map_err(|reason| unreadable(&path, reason))
        };
        let (operator, negated) = match operator::operator(test, &data) {
            Err(Problem::Unsupported { word, .. }) if self.tolerate_lookups && operator::is_lookup(&word) => {
                let text = format!("{word} never holds here: nobody outside is asked");
                self.notices.push(Notice { place: directive.place.clone(), text });
                (Operator::Never, false)
            }
            read => read?,
        };
        self.link(directive, targets, Some(operator), negated, actions)
    }

    fn action(&mut self, directive: &Directive) -> Result<(), Problem> {
        self.link(directive, Targets::default(), None, false, single(directive)?)
    }

    fn link(
        &mut self,
        directive: &Directive,
        targets: Targets,
        operator: Option<Operator>,
        negated: bool,
        text: &str,
    ) -> Result<(), Problem> {
        let actions = action::actions(text)?;
        let phase = match &self.chain {
            Some(open) => open.rule.phase,
            None => actions.phase.unwrap_or(Phase::RequestBody),
        };
        let defaults = self.defaults.get(phase.index()).cloned().unwrap_or_default();
        let inherited = if actions.clears_transforms { Vec::new() } else { defaults.transforms.clone() };
        let link = Link {
            place: directive.place.clone(),
            targets,
            transforms: inherited.into_iter().chain(actions.transforms.iter().copied()).collect(),
            multi_match: actions.multi_match,
            operator,
            negated,
            capture: actions.capture,
            effects: actions.effects.clone(),
        };
        let continues = actions.chain;
        let rule = match self.chain.take() {
            Some(mut open) => {
                if let Some(reason) = actions.speaks_for_a_chain() {
                    return Err(Problem::Chain(reason));
                }
                adopt(&mut open.rule, &actions);
                open.rule.links.push(link);
                open.rule
            }
            None => self.head(directive, phase, &defaults, actions, link)?,
        };
        if continues {
            self.chain = Some(Open { rule });
        } else {
            self.items.push(Item::Rule(self.rules.len()));
            self.rules.push(rule);
        }
        Ok(())
    }

    fn head(
        &mut self,
        directive: &Directive,
        phase: Phase,
        defaults: &Actions,
        actions: Actions,
        link: Link,
    ) -> Result<Rule, Problem> {
        let id = actions.id.ok_or(Problem::Missing("the id of the rule"))?;
        if let Some(earlier) = self.ids.insert(id, directive.place.clone()) {
            return Err(Problem::DuplicateId(id, earlier));
        }
        Ok(Rule {
            id,
            place: directive.place.clone(),
            phase,
            links: vec![link],
            disruption: decision(actions.decision.as_ref(), defaults),
            status: actions.status.or(defaults.status),
            log: actions.log.or(defaults.log).unwrap_or(true),
            audit: actions.audit.or(defaults.audit).unwrap_or(true),
            message: actions.message,
            log_data: actions.log_data,
            tags: actions.tags,
            severity: actions.severity,
            version: actions.version,
            skip_after: actions.skip_after,
            skip: actions.skip,
        })
    }

    fn default_action(&mut self, text: &str) -> Result<(), Problem> {
        let actions = action::actions(text)?;
        let phase = actions.phase.ok_or(Problem::Missing("the phase of SecDefaultAction"))?;
        if matches!(actions.decision, None | Some(Decision::Block)) {
            return Err(Problem::Missing("what SecDefaultAction decides"));
        }
        if actions.id.is_some() || actions.chain || !actions.effects.is_empty() {
            return Err(Problem::Text("SecDefaultAction takes no id, chain or effects"));
        }
        if let Some(place) = self.defaults.get_mut(phase.index()) {
            *place = actions;
        }
        Ok(())
    }
}

/// Messages may be written at any link of a chain.
fn adopt(rule: &mut Rule, actions: &Actions) {
    if actions.message.is_some() {
        rule.message.clone_from(&actions.message);
    }
    if actions.log_data.is_some() {
        rule.log_data.clone_from(&actions.log_data);
    }
    rule.severity = actions.severity.or(rule.severity);
}

fn decision(said: Option<&Decision>, defaults: &Actions) -> Disruption {
    match (said, &defaults.decision) {
        (Some(Decision::Is(disruption)), _) => disruption.clone(),
        (Some(Decision::Block) | None, Some(Decision::Is(disruption))) => disruption.clone(),
        // The rule language's own default for a set without SecDefaultAction.
        (Some(Decision::Block) | None, _) => Disruption::Pass,
    }
}

/// The rules a removal means.
pub(crate) fn indices(rules: &[Rule], removal: &Removal) -> Vec<usize> {
    let means = |rule: &Rule| match removal {
        Removal::Ids(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&rule.id)),
        Removal::Tag(tag) => rule.tags.iter().any(|of_rule| tag.admits(of_rule)),
        Removal::Message(message) => rule
            .message
            .as_ref()
            .and_then(|template| template.constant())
            .and_then(|text| std::str::from_utf8(text).ok())
            .is_some_and(|text| message.admits(text)),
    };
    rules.iter().enumerate().filter(|(_, rule)| means(rule)).map(|(index, _)| index).collect()
}

fn single(directive: &Directive) -> Result<&str, Problem> {
    match directive.arguments.as_slice() {
        [only] => Ok(only),
        _ => Err(Problem::Argument {
            what: directive.name.clone(),
            value: directive.arguments.join(" "),
            expected: "one argument",
        }),
    }
}

fn at(place: &Place, problem: Problem) -> LoadError {
    LoadError { place: place.clone(), problem }
}

fn unreadable(path: &str, reason: String) -> Problem {
    Problem::File { path: path.to_owned(), reason }
}

/// An error at the directive being read, or one in a file it includes.
enum Failure {
    Elsewhere(LoadError),
    Here(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Here(problem)
    }
}

/// Reads one exclusion such as `ARGS:password`, for exclusions that come from documents instead of rule text.
///
/// # Errors
/// When it is not one target.
pub fn exclusion(text: &str) -> Result<Exclusion, Problem> {
    let mut read = target::targets(&format!("!{}", text.trim_start_matches('!')))?;
    match (read.exclude.pop(), read.exclude.is_empty() && read.include.is_empty()) {
        (Some(exclusion), true) => Ok(exclusion),
        _ => Err(Problem::Argument {
            what: "exclusion".to_owned(),
            value: text.to_owned(),
            expected: "one target",
        }),
    }
}

#[cfg(test)]
pub(crate) fn operator_for_test(name: &str, argument: &str) -> Result<Operator, Problem> {
    let no_files = |_: &str| Err(Problem::Missing("files"));
    operator::operator(&format!("@{name} {argument}"), &no_files).map(|(operator, _)| operator)
}
