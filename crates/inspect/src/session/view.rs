//! A session as the text of macros sees it: what `%{…}` stands for now, for tests as it is and for records masked.

use std::borrow::Cow;

use super::{Session, mask};
use crate::{
    operator::Expand,
    rule::{
        Macro, Part, Rule, Selector, Template, Variable,
        template::{RuleFact, TimeFact},
    },
};

/// A session as the text of macros sees it.
pub(super) struct View<'s> {
    pub(super) session: &'s Session,
    pub(super) rule: &'s Rule,
}

impl View<'_> {
    fn lookup(&self, reference: &Macro) -> Option<Cow<'_, [u8]>> {
        let session = self.session;
        match reference {
            Macro::Rule(RuleFact::Id) => Some(Cow::Owned(self.rule.id.to_string().into_bytes())),
            Macro::Rule(RuleFact::Message) => {
                self.rule.message.as_ref().and_then(Template::constant).map(|text| Cow::Borrowed(&**text))
            }
            Macro::Rule(RuleFact::Severity) => {
                self.rule.severity.map(|severity| Cow::Borrowed(severity.word().as_bytes()))
            }
            Macro::Time(TimeFact::Epoch) => {
                Some(Cow::Owned(session.exchange.now_seconds.to_string().into_bytes()))
            }
            Macro::Variable(variable, name) if variable.changes() => match (variable, name) {
                (Variable::MatchedVar, _) => session.matched.last().map(|(_, value)| Cow::Borrowed(&**value)),
                (Variable::MatchedVarName, _) => {
                    session.matched.last().map(|(name, _)| Cow::Borrowed(name.as_slice()))
                }
                (variable, Some(name)) => {
                    session.texts.get(*variable, name).map(|text| Cow::Borrowed(&**text))
                }
                (variable, None) => session
                    .changing_values(*variable, &Selector::All)
                    .into_iter()
                    .next()
                    .map(|(_, text)| Cow::Owned(text.to_vec())),
            },
            Macro::Variable(variable, name) => {
                session.facts.first(*variable, name.as_deref()).map(Cow::Borrowed)
            }
        }
    }

    /// The text of a template in which values show only their shape.
    pub(super) fn masked(&self, template: &Template) -> String {
        let mut out = String::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => out.push_str(&String::from_utf8_lossy(text)),
                Part::Macro(reference @ (Macro::Variable(Variable::MatchedVarName, _) | Macro::Rule(_))) => {
                    out.push_str(&mask::name(&self.lookup(reference).unwrap_or_default()));
                }
                Part::Macro(reference) => {
                    out.push_str(&mask::number_or_shape(&self.lookup(reference).unwrap_or_default()));
                }
            }
        }
        out
    }
}

impl Expand for View<'_> {
    fn expand<'t>(&self, template: &'t Template) -> Cow<'t, [u8]> {
        if let Some(constant) = template.constant() {
            return Cow::Borrowed(constant);
        }
        let mut out = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Macro(reference) => out.extend_from_slice(&self.lookup(reference).unwrap_or_default()),
            }
        }
        Cow::Owned(out)
    }
}
