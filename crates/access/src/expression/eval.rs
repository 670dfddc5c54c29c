//! Evaluation of a condition for one request.
//!
//! Nothing is prepared: a fact is read when a step asks for it. Every step costs, and so does every piece of text or
//! item that it looks at; when the allowance is used up there is no answer. As in CEL, `&&` and `||` are decided by
//! either side alone if that suffices, whatever is wrong with the other.

use std::{borrow::Cow, net::IpAddr};

use super::{
    Undecided,
    code::{Code, Constant, Each, Fact, Function},
    parse::Operator,
};
use crate::subject::{Asked, Subject};

mod facts;

/// 20,000: what a quantifier over five hundred parameters takes, some hundred microseconds. Two of them within each
/// other over that many do not fit, and are meant not to.
const STEPS_MAX: u32 = 20_000;

/// Whether a condition holds.
pub(super) fn holds(
    code: &Code,
    who: &Subject<'_>,
    asked: &Asked<'_>,
    now_ms: u64,
) -> Result<bool, Undecided> {
    let mut machine = Machine { who: *who, asked: *asked, now_ms, steps: STEPS_MAX, locals: Vec::new() };
    match machine.bool(code) {
        Ok(answer) => Ok(answer),
        Err(Stop::Undecided(why)) => Err(why),
        Err(Stop::Spent) => Err(Undecided::new("the condition takes too many steps for this request")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
    Time(i64),
    Span(i64),
    Address(IpAddr),
    List(Vec<Value<'a>>),
}

/// Why evaluation ends early.
enum Stop {
    /// There is no answer here; another operand may still decide.
    Undecided(Undecided),
    /// The allowance is used up, and nothing decides any more.
    Spent,
}

fn undecided<T>(what: impl Into<Cow<'static, str>>) -> Result<T, Stop> {
    Err(Stop::Undecided(Undecided::new(what)))
}

/// The checker rules it out; should it ever happen, nobody is let in by it.
fn mistyped<T>() -> Result<T, Stop> {
    undecided("a value has another type than its place")
}

struct Machine<'a> {
    who: Subject<'a>,
    asked: Asked<'a>,
    now_ms: u64,
    steps: u32,
    locals: Vec<Value<'a>>,
}

impl<'a> Machine<'a> {
    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps));
        self.steps = left.ok_or(Stop::Spent)?;
        Ok(())
    }

    /// Charges for looking at so many bytes.
    fn read(&mut self, bytes: usize) -> Result<(), Stop> {
        self.spend(bytes / 32)
    }

    fn value(&mut self, code: &'a Code) -> Result<Value<'a>, Stop> {
        self.spend(1)?;
        Ok(match code {
            Code::Constant(constant) => match constant {
                Constant::Bool(value) => Value::Bool(*value),
                Constant::Int(value) => Value::Int(*value),
                Constant::Text(text) => Value::Text(Cow::Borrowed(text)),
                Constant::Time(nanos) => Value::Time(*nanos),
                Constant::Span(nanos) => Value::Span(*nanos),
            },
            Code::List(items) => {
                Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)
            }
            Code::Fact(fact) => self.fact(*fact)?,
            Code::Local(slot) => match self.locals.get(*slot) {
                Some(value) => value.clone(),
                None => return mistyped(),
            },
            Code::Lookup(table, key) => {
                let key = self.text(key)?;
                self.lookup(*table, &key)?
            }
            Code::Item(parts) => {
                let [list, index] = &**parts;
                let (list, index) = (self.list(list)?, self.int(index)?);
                let item = usize::try_from(index).ok().and_then(|index| list.into_iter().nth(index));
                match item {
                    Some(item) => item,
                    None => return undecided("a list has no item of that number"),
                }
            }
            Code::Negate(inside) => match self.int(inside)?.checked_neg() {
                Some(value) => Value::Int(value),
                None => return undecided("a number is out of range"),
            },
            Code::Choose(parts) => {
                let [condition, yes, no] = &**parts;
                return if self.bool(condition)? { self.value(yes) } else { self.value(no) };
            }
            Code::Math(operator, parts) => {
                let [one, other] = &**parts;
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.math(*operator, one, other)?
            }
            Code::Call(function, arguments) => self.call(function, arguments)?,
            Code::Known(..) | Code::Has(_) | Code::Not(_) | Code::And(_) | Code::Or(_) => {
                Value::Bool(self.bool(code)?)
            }
            Code::Equal(..) | Code::Order(..) | Code::In(_) | Code::Each(..) => Value::Bool(self.bool(code)?),
        })
    }

    fn bool(&mut self, code: &'a Code) -> Result<bool, Stop> {
        self.spend(1)?;
        match code {
            Code::Not(inside) => self.bool(inside).map(|value| !value),
            Code::And(parts) => self.junction(parts.iter(), false, Self::bool),
            Code::Or(parts) => self.junction(parts.iter(), true, Self::bool),
            Code::Known(table, key) => {
                let key = self.text(key)?;
                self.known(*table, &key)
            }
            Code::Has(fact) => Ok(match fact {
                Fact::Consumer => self.who.consumer.is_some(),
                Fact::Sub => self.who.sub.is_some(),
                _ => true,
            }),
            Code::Equal(parts, expected) => {
                let [one, other] = &**parts;
                let (one, other) = (self.value(one)?, self.value(other)?);
                Ok(self.equal(&one, &other)? == *expected)
            }
            Code::Order(operator, parts) => {
                let [one, other] = &**parts;
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.order(*operator, &one, &other)
            }
            Code::In(parts) => {
                let [item, list] = &**parts;
                let (item, list) = (self.value(item)?, self.list(list)?);
                for known in &list {
                    if self.equal(&item, known)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Code::Each(each, parts) => {
                let [list, body] = &**parts;
                let list = self.list(list)?;
                self.each(*each, list, body)
            }
            _ => match self.value(code)? {
                Value::Bool(value) => Ok(value),
                _ => mistyped(),
            },
        }
    }

    /// Whether one of these is `decisive`; undecided only if none is and one could not be decided.
    fn junction<T>(
        &mut self,
        parts: impl Iterator<Item = T>,
        decisive: bool,
        judge: impl Fn(&mut Self, T) -> Result<bool, Stop>,
    ) -> Result<bool, Stop> {
        let mut open = None;
        for part in parts {
            match judge(self, part) {
                Ok(value) if value == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(Stop::Undecided(why)) => open = open.or(Some(why)),
                Err(Stop::Spent) => return Err(Stop::Spent),
            }
        }
        open.map_or(Ok(!decisive), |why| Err(Stop::Undecided(why)))
    }

    fn each(&mut self, each: Each, list: Vec<Value<'a>>, body: &'a Code) -> Result<bool, Stop> {
        let judge = |machine: &mut Self, item: Value<'a>| {
            machine.locals.push(item);
            let answer = machine.bool(body);
            machine.locals.pop();
            answer
        };
        match each {
            Each::All => self.junction(list.into_iter(), false, judge),
            Each::Exists => self.junction(list.into_iter(), true, judge),
            // CEL: here every item must be decided.
            Each::ExistsOne => {
                let mut found = 0;
                for item in list {
                    found += usize::from(judge(self, item)?);
                }
                Ok(found == 1)
            }
        }
    }

    fn text(&mut self, code: &'a Code) -> Result<Cow<'a, str>, Stop> {
        match self.value(code)? {
            Value::Text(text) => Ok(text),
            _ => mistyped(),
        }
    }

    fn int(&mut self, code: &'a Code) -> Result<i64, Stop> {
        match self.value(code)? {
            Value::Int(value) => Ok(value),
            _ => mistyped(),
        }
    }

    fn list(&mut self, code: &'a Code) -> Result<Vec<Value<'a>>, Stop> {
        match self.value(code)? {
            Value::List(items) => {
                self.spend(items.len())?;
                Ok(items)
            }
            _ => mistyped(),
        }
    }

    // === Operators and functions ===

    fn equal(&mut self, one: &Value<'a>, other: &Value<'a>) -> Result<bool, Stop> {
        self.spend(1)?;
        match (one, other) {
            (Value::Text(one), Value::Text(other)) => {
                self.read(one.len().min(other.len()))?;
                Ok(one == other)
            }
            (Value::List(one), Value::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other) {
                    if !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(one == other),
        }
    }

    fn order(&mut self, operator: Operator, one: &Value<'a>, other: &Value<'a>) -> Result<bool, Stop> {
        let order = match (one, other) {
            (Value::Int(one), Value::Int(other))
            | (Value::Time(one), Value::Time(other))
            | (Value::Span(one), Value::Span(other)) => one.cmp(other),
            (Value::Text(one), Value::Text(other)) => {
                self.read(one.len().min(other.len()))?;
                one.cmp(other)
            }
            _ => return mistyped(),
        };
        match operator {
            Operator::Less => Ok(order.is_lt()),
            Operator::LessOrEqual => Ok(order.is_le()),
            Operator::Greater => Ok(order.is_gt()),
            Operator::GreaterOrEqual => Ok(order.is_ge()),
            _ => mistyped(),
        }
    }

    fn math(&mut self, operator: Operator, one: Value<'a>, other: Value<'a>) -> Result<Value<'a>, Stop> {
        let result = match (operator, one, other) {
            (Operator::Add, Value::Text(one), Value::Text(other)) => {
                self.read(one.len() + other.len())?;
                Some(Value::Text(Cow::Owned(one.into_owned() + &other)))
            }
            (Operator::Add, Value::Int(one), Value::Int(other)) => one.checked_add(other).map(Value::Int),
            (Operator::Subtract, Value::Int(one), Value::Int(other)) => {
                one.checked_sub(other).map(Value::Int)
            }
            (Operator::Multiply, Value::Int(one), Value::Int(other)) => {
                one.checked_mul(other).map(Value::Int)
            }
            (Operator::Divide, Value::Int(one), Value::Int(other)) => one.checked_div(other).map(Value::Int),
            (Operator::Remainder, Value::Int(one), Value::Int(other)) => {
                one.checked_rem(other).map(Value::Int)
            }
            (Operator::Add, Value::Time(one), Value::Span(other))
            | (Operator::Add, Value::Span(other), Value::Time(one)) => {
                one.checked_add(other).map(Value::Time)
            }
            (Operator::Add, Value::Span(one), Value::Span(other)) => one.checked_add(other).map(Value::Span),
            (Operator::Subtract, Value::Span(one), Value::Span(other)) => {
                one.checked_sub(other).map(Value::Span)
            }
            (Operator::Subtract, Value::Time(one), Value::Span(other)) => {
                one.checked_sub(other).map(Value::Time)
            }
            (Operator::Subtract, Value::Time(one), Value::Time(other)) => {
                one.checked_sub(other).map(Value::Span)
            }
            _ => return mistyped(),
        };
        result.map_or_else(|| undecided("a number is out of range"), Ok)
    }

    fn call(&mut self, function: &'a Function, arguments: &'a [Code]) -> Result<Value<'a>, Stop> {
        let [first, rest @ ..] = arguments else { return mistyped() };
        let first = self.value(first)?;
        Ok(match (function, first) {
            (Function::Size, Value::List(items)) => {
                Value::Int(i64::try_from(items.len()).unwrap_or(i64::MAX))
            }
            (Function::Size, Value::Text(text)) => {
                self.read(text.len())?;
                Value::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))
            }
            (Function::Only, Value::List(items)) => {
                let count = items.len();
                match <[Value<'a>; 1]>::try_from(items) {
                    Ok([only]) => only,
                    Err(_) => return undecided(format!("only() found {count} values")),
                }
            }
            (Function::ToText, Value::Int(value)) => Value::Text(Cow::Owned(value.to_string())),
            (Function::ToText, Value::Bool(value)) => {
                Value::Text(Cow::Borrowed(if value { "true" } else { "false" }))
            }
            (Function::ToInt, Value::Text(text)) => match text.parse() {
                // A plus sign is no part of a CEL number, though of a Rust one.
                Ok(value) if !text.starts_with('+') => Value::Int(value),
                _ => return undecided("int() found a text that is no number"),
            },
            (Function::InCidr(networks), Value::Address(address)) => Value::Bool(networks.contains(address)),
            (Function::TimePart(part, zone), Value::Time(nanos)) => Value::Int(part.of(nanos, *zone)),
            (Function::LowerAscii, Value::Text(text)) => {
                self.read(text.len())?;
                Value::Text(Cow::Owned(text.to_ascii_lowercase()))
            }
            (Function::UpperAscii, Value::Text(text)) => {
                self.read(text.len())?;
                Value::Text(Cow::Owned(text.to_ascii_uppercase()))
            }
            (Function::Matches(regex), Value::Text(text)) => {
                self.spend(text.len() / 8)?;
                Value::Bool(regex.is_match(&text))
            }
            (Function::Contains | Function::StartsWith | Function::EndsWith, Value::Text(text)) => {
                let [wanted] = rest else { return mistyped() };
                let wanted = self.text(wanted)?;
                self.read(text.len())?;
                Value::Bool(match function {
                    Function::Contains => text.contains(&*wanted),
                    Function::StartsWith => text.starts_with(&*wanted),
                    _ => text.ends_with(&*wanted),
                })
            }
            _ => return mistyped(),
        })
    }
}
