//! The functions of conditions: their names, types, and what of them is settled when a condition is loaded.
//!
//! Expressions, networks, times and zones must be literals: what is compiled for each request could be made dear.

use bartizan_message::{AddressSet, Cidr};
use bartizan_model::{problem::shown, read::nearest};
use regex::RegexBuilder;

use super::{
    Wrong,
    check::Checker,
    code::{Code, Constant, Function},
    parse::{Kind, Node},
    time::{self, Part},
    types::Type,
};

/// 256 KiB: an expression that compiles into more is no condition on one value.
const REGEX_BYTES_MAX: usize = 256 * 1024;

const FUNCTIONS: &[&str] = &["duration", "has", "int", "only", "size", "string", "timestamp"];

const METHODS: &[&str] = &[
    "all",
    "contains",
    "endsWith",
    "exists",
    "exists_one",
    "inCidr",
    "lowerAscii",
    "matches",
    "size",
    "startsWith",
    "upperAscii",
];

/// Settles a call.
pub(super) fn call(
    checker: &mut Checker,
    target: Option<&Node>,
    name: &str,
    arguments: &[Node],
    at: usize,
) -> Result<(Code, Type), Wrong> {
    match (target, arguments) {
        (None, [argument]) => free(checker, name, argument, at),
        (None, _) if FUNCTIONS.contains(&name) => {
            Err(Wrong::new(at, format!("`{name}` takes one value, not {}", arguments.len())))
        }
        (None, _) => Err(unknown("function", name, FUNCTIONS, at)),
        (Some(target), _) => {
            let (code, type_) = checker.node(target)?;
            method(checker, code, &type_, name, arguments, at)
        }
    }
}

fn free(checker: &mut Checker, name: &str, argument: &Node, at: usize) -> Result<(Code, Type), Wrong> {
    let literal = |what: &str| match &argument.kind {
        Kind::Text(text) => Ok(text.as_str()),
        _ => Err(Wrong::new(argument.at, format!("`{name}` needs {what} in quotes"))),
    };
    match name {
        "timestamp" => {
            let text = literal("a time")?;
            let time = time::timestamp(text).ok_or_else(|| {
                Wrong::new(argument.at, format!("{} is not a time", shown(text)))
                    .hint("write for example `2027-01-31T00:00:00Z`")
            })?;
            return Ok((Code::Constant(Constant::Time(time)), Type::Time));
        }
        "duration" => {
            let text = literal("a duration")?;
            let span = time::duration(text).ok_or_else(|| {
                Wrong::new(argument.at, format!("{} is not a duration", shown(text)))
                    .hint("write for example `1h30m` or `45s`")
            })?;
            return Ok((Code::Constant(Constant::Span(span)), Type::Span));
        }
        _ if !FUNCTIONS.contains(&name) => return Err(unknown("function", name, FUNCTIONS, at)),
        _ => {}
    }
    let (code, type_) = checker.node(argument)?;
    let (function, result) = match (name, &type_) {
        ("size", Type::Text | Type::List(_)) => (Function::Size, Type::Int),
        ("only", Type::List(Some(of))) => (Function::Only, (**of).clone()),
        ("int", Type::Text) => (Function::ToInt, Type::Int),
        ("int", Type::Int) | ("string", Type::Text) => return Ok((code, type_)),
        ("string", Type::Int | Type::Bool) => (Function::ToText, Type::Text),
        _ => return Err(Wrong::new(argument.at, format!("`{name}` does not take {type_}"))),
    };
    Ok((Code::Call(function, vec![code]), result))
}

fn method(
    checker: &mut Checker,
    target: Code,
    type_: &Type,
    name: &str,
    arguments: &[Node],
    at: usize,
) -> Result<(Code, Type), Wrong> {
    if let (Type::Time, Some(part)) = (type_, Part::parse(name)) {
        let zone = match arguments {
            [] => 0,
            [Node { kind: Kind::Text(zone), at }] => time::zone(zone).ok_or_else(|| {
                Wrong::new(*at, format!("{} is not a zone", shown(zone)))
                    .hint("write `UTC` or a distance from it, as `+02:00`: rules of countries change")
            })?,
            _ => return Err(Wrong::new(at, format!("`{name}` takes a zone in quotes or nothing"))),
        };
        return Ok((Code::Call(Function::TimePart(part, zone), vec![target]), Type::Int));
    }
    if let (Type::Address, "inCidr") = (type_, name) {
        return Ok((Code::Call(Function::InCidr(networks(arguments, at)?), vec![target]), Type::Bool));
    }
    let (function, result, expected) = match (name, type_) {
        ("size", Type::Text | Type::List(_)) => (Function::Size, Type::Int, 0),
        ("lowerAscii", Type::Text) => (Function::LowerAscii, Type::Text, 0),
        ("upperAscii", Type::Text) => (Function::UpperAscii, Type::Text, 0),
        ("contains", Type::Text) => (Function::Contains, Type::Bool, 1),
        ("startsWith", Type::Text) => (Function::StartsWith, Type::Bool, 1),
        ("endsWith", Type::Text) => (Function::EndsWith, Type::Bool, 1),
        ("matches", Type::Text) => return matches(target, arguments, at),
        _ if METHODS.contains(&name) || Part::parse(name).is_some() => {
            let wrong = Wrong::new(at, format!("{type_} has no method `{name}`"));
            return Err(match type_ {
                Type::List(_) => wrong.hint("ask of each value with `.all(value, …)`, or of `only(…)` one"),
                _ => wrong,
            });
        }
        _ => return Err(unknown("method", name, METHODS, at)),
    };
    if arguments.len() != expected {
        return Err(Wrong::new(at, format!("`{name}` takes {expected} values, not {}", arguments.len())));
    }
    let mut codes = vec![target];
    for argument in arguments {
        codes.push(checker.of(argument, &Type::Text)?);
    }
    Ok((Code::Call(function, codes), result))
}

fn matches(target: Code, arguments: &[Node], at: usize) -> Result<(Code, Type), Wrong> {
    let [Node { kind: Kind::Text(pattern), at }] = arguments else {
        return Err(Wrong::new(at, "`matches` needs one expression in quotes"));
    };
    let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().map_err(|_| {
        Wrong::new(*at, "this is no regular expression that can be compiled")
            .hint("the syntax is RE2's, without look-around and back-references")
    })?;
    Ok((Code::Call(Function::Matches(regex), vec![target]), Type::Bool))
}

fn networks(arguments: &[Node], at: usize) -> Result<AddressSet, Wrong> {
    if arguments.is_empty() {
        return Err(
            Wrong::new(at, "`inCidr` needs a network").hint("write `client.address.inCidr(\"10.0.0.0/8\")`")
        );
    }
    let network = |node: &Node| match &node.kind {
        Kind::Text(text) => text.parse::<Cidr>().map_err(|_| {
            Wrong::new(node.at, format!("{} is not a network", shown(text)))
                .hint("write for example `10.0.0.0/8` or `2001:db8::/32`")
        }),
        _ => Err(Wrong::new(node.at, "a network is written in quotes")),
    };
    arguments.iter().map(network).collect()
}

fn unknown(what: &str, name: &str, known: &[&'static str], at: usize) -> Wrong {
    let wrong = Wrong::new(at, format!("there is no {what} {}", shown(name)));
    match nearest(name, known.iter().copied()) {
        Some(near) => wrong.hint(format!("did you mean `{near}`?")),
        None => wrong.hint(format!("there are {}", known.join(", "))),
    }
}
