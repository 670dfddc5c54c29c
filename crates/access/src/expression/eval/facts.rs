//! What a condition looks at, read when a step asks for it.

use std::{borrow::Cow, sync::Arc};

use bartizan_message::Query;
use bartizan_model::problem::shown;

use super::{Machine, Stop, Value, undecided};
use crate::expression::code::{Fact, Table};

impl<'a> Machine<'a> {
    pub(super) fn fact(&self, fact: Fact) -> Result<Value<'a>, Stop> {
        let text = |text: &'a str| Value::Text(Cow::Borrowed(text));
        let list = |items: &'a [Arc<str>]| Value::List(items.iter().map(|item| text(item)).collect());
        Ok(match fact {
            Fact::Consumer => match self.who.consumer {
                Some(consumer) => text(consumer),
                None => return undecided("identity.consumer is absent"),
            },
            Fact::Sub => match self.who.sub {
                Some(sub) => text(sub),
                None => return undecided("identity.sub is absent"),
            },
            Fact::Roles => list(self.who.role_names),
            Fact::Tags => list(self.who.tags),
            Fact::IdentityMethod => text(self.who.method),
            Fact::Method => text(self.asked.method.as_str()),
            Fact::Path => text(self.asked.path),
            Fact::Host => text(self.asked.host),
            Fact::Address => Value::Address(self.asked.client),
            Fact::Now => {
                let nanos = i64::try_from(self.now_ms).ok().and_then(|now| now.checked_mul(1_000_000));
                match nanos {
                    Some(nanos) => Value::Time(nanos),
                    None => return undecided("the clock is out of range"),
                }
            }
        })
    }

    pub(super) fn known(&mut self, table: Table, key: &str) -> Result<bool, Stop> {
        match table {
            Table::Claims => Ok(self.who.claims.is_some_and(|claims| claims.get(key).is_some())),
            Table::Headers => Ok(self.asked.headers.contains_key(key)),
            Table::Query => Ok(!self.parameters(key)?.is_empty()),
            Table::Variables => Ok(self.asked.variables.get(key).is_some()),
        }
    }

    pub(super) fn lookup(&mut self, table: Table, key: &str) -> Result<Value<'a>, Stop> {
        let values = match table {
            Table::Claims => self.claims(key)?,
            Table::Headers => self.headers(key)?,
            Table::Query => self.parameters(key)?,
            Table::Variables => match self.asked.variables.get(key) {
                Some(text) => return Ok(Value::Text(text)),
                None => Vec::new(),
            },
        };
        if values.is_empty() {
            return undecided(format!("{} has no {}", table.as_str(), shown(key)));
        }
        Ok(Value::List(values))
    }

    fn claims(&mut self, name: &str) -> Result<Vec<Value<'a>>, Stop> {
        let texts = self.who.claims.and_then(|claims| claims.get(name)).unwrap_or_default();
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            self.spend(1)?;
            values.push(Value::Text(text));
        }
        Ok(values)
    }

    fn headers(&mut self, name: &str) -> Result<Vec<Value<'a>>, Stop> {
        let mut values = Vec::new();
        for value in self.asked.headers.get_all(name) {
            let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
                return undecided("a header's value is not text");
            };
            self.spend(1)?;
            values.push(Value::Text(Cow::Borrowed(text)));
        }
        Ok(values)
    }

    /// All values of a parameter. A query with a name that cannot be read has an unknown number of them, for that
    /// name may be read as any other by the server behind us.
    fn parameters(&mut self, wanted: &str) -> Result<Vec<Value<'a>>, Stop> {
        let mut values = Vec::new();
        for pair in Query::new(self.asked.query) {
            self.spend(1)?;
            let name = pair.name();
            match name.as_str() {
                Some(known) if name.well_formed => {
                    if known != wanted {
                        continue;
                    }
                }
                _ => return undecided("a query parameter's name cannot be read in one way"),
            }
            let value = pair.value();
            let text = if value.well_formed {
                match value.bytes {
                    Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
                    Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
                }
            } else {
                None
            };
            match text {
                Some(text) => values.push(Value::Text(text)),
                None => return undecided("a query parameter's value cannot be read in one way"),
            }
        }
        Ok(values)
    }
}
