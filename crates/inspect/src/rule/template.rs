//! Text with macros: `%{tx.score}` is replaced when a rule runs. Parsed once; a text without macros is kept as it is.

use std::sync::Arc;

use crate::rule::variable::Variable;

/// A text that may contain macros.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text as it is.
    Text(Arc<[u8]>),
    /// The value of a variable.
    Macro(Macro),
}

/// A reference to a value inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Macro {
    /// `%{NAME}` or `%{NAME.key}`.
    Variable(Variable, Option<Arc<str>>),
    /// `%{rule.id}` and the like: a property of the running rule.
    Rule(RuleFact),
    /// `%{TIME_EPOCH}`-like facts of the clock are given by the caller.
    Time(TimeFact),
}

/// A property of the running rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleFact {
    /// Its id.
    Id,
    /// Its message.
    Message,
    /// Its severity.
    Severity,
}

/// A property of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFact {
    /// Seconds since 1970.
    Epoch,
}

impl Template {
    /// A text without macros.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { parts: vec![Part::Text(Arc::from(text.as_bytes()))] }
    }

    /// Reads `%{…}`; returns the unknown word when a macro names nothing.
    ///
    /// # Errors
    /// The word of an unknown macro.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("%{") {
            let (before, from) = rest.split_at(at);
            let Some(end) = from.find('}') else { break };
            if !before.is_empty() {
                parts.push(Part::Text(Arc::from(before.as_bytes())));
            }
            let word = from.get(2..end).unwrap_or_default();
            parts.push(Part::Macro(Macro::parse(word).ok_or_else(|| word.to_owned())?));
            rest = from.get(end + 1..).unwrap_or_default();
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(Arc::from(rest.as_bytes())));
        }
        Ok(Self { parts })
    }

    /// The pieces in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The variables that its macros name.
    pub(crate) fn variables(&self) -> impl Iterator<Item = Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Macro(Macro::Variable(variable, _)) => Some(*variable),
            Part::Macro(Macro::Rule(_) | Macro::Time(_)) | Part::Text(_) => None,
        })
    }

    /// The text, when it has no macros.
    #[must_use]
    pub fn constant(&self) -> Option<&Arc<[u8]>> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl Macro {
    fn parse(word: &str) -> Option<Self> {
        let (name, key) = match word.split_once(['.', ':']) {
            Some((name, key)) => (name, Some(key)),
            None => (word, None),
        };
        if name.eq_ignore_ascii_case("rule") {
            return match key?.to_ascii_lowercase().as_str() {
                "id" => Some(Self::Rule(RuleFact::Id)),
                "msg" => Some(Self::Rule(RuleFact::Message)),
                "severity" => Some(Self::Rule(RuleFact::Severity)),
                _ => None,
            };
        }
        if name.eq_ignore_ascii_case("time_epoch") {
            return Some(Self::Time(TimeFact::Epoch));
        }
        let variable = Variable::from_name(name)?;
        // Names rules give are kept small.
        let key = key
            .map(|key| if variable.changes() { Arc::from(key.to_ascii_lowercase()) } else { Arc::from(key) });
        Some(Self::Variable(variable, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_found_and_text_is_kept() {
        let template = Template::parse("a%{tx.1}b%{MATCHED_VAR_NAME}").unwrap();
        assert_eq!(template.parts().len(), 4);
        assert!(template.constant().is_none());
        assert_eq!(&**Template::parse("50%").unwrap().constant().unwrap(), b"50%");
    }

    #[test]
    fn an_unknown_macro_is_named() {
        assert_eq!(Template::parse("%{nosuch.x}").unwrap_err(), "nosuch.x");
    }
}
