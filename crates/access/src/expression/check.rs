//! Names and types of a condition, settled when it is loaded.
//!
//! Stricter than CEL, where every name is a question of run time: an unknown name, a comparison of two types or a
//! list where a string is meant is a problem with a place and a hint.

use std::sync::Arc;

use bartizan_model::{problem::shown, read::nearest};

use super::{
    Wrong,
    code::{Code, Constant, Each, Fact, Table},
    function,
    parse::{Kind, Node, Operator},
    types::Type,
};

/// A condition that is in order.
pub(super) struct Checked {
    pub(super) code: Code,
    pub(super) variables: Vec<Arc<str>>,
    pub(super) looks_at_request: bool,
}

/// Settles names and types; the condition as a whole must be a yes or no.
pub(super) fn check(tree: &Node) -> Result<Checked, Wrong> {
    let mut checker = Checker::default();
    let (code, type_) = checker.node(tree)?;
    if type_ != Type::Bool {
        return Err(Wrong::new(tree.at, format!("the condition is {type_}, not a yes or no")));
    }
    let Checker { needed, asked, looks_at_request, .. } = checker;
    let variables = needed.into_iter().filter(|name| !asked.contains(name)).collect();
    Ok(Checked { code, variables, looks_at_request })
}

#[derive(Default)]
pub(super) struct Checker {
    /// Names of enclosing quantifiers' variables with their types, outermost first.
    locals: Vec<(String, Type)>,
    /// Variables of the path that are used, and those that are asked for before.
    needed: Vec<Arc<str>>,
    asked: Vec<Arc<str>>,
    looks_at_request: bool,
}

/// What a name before a dot stands for.
enum Root {
    Identity,
    Request,
    Client,
    Table(Table),
}

type Typed = (Code, Type);

impl Checker {
    pub(super) fn node(&mut self, node: &Node) -> Result<Typed, Wrong> {
        Ok(match &node.kind {
            Kind::Bool(value) => (Code::Constant(Constant::Bool(*value)), Type::Bool),
            Kind::Int(value) => (Code::Constant(Constant::Int(*value)), Type::Int),
            Kind::Text(text) => (Code::Constant(Constant::Text(text.as_str().into())), Type::Text),
            Kind::List(items) => self.list(items)?,
            Kind::Name(name) => self.name(name, node.at)?,
            Kind::Select(target, field) => self.select(target, field, node.at)?,
            Kind::Index(target, index) => self.index(target, index)?,
            Kind::Call(target, name, arguments) => self.call(target.as_deref(), name, arguments, node.at)?,
            Kind::Not(inside) => (Code::Not(Box::new(self.of(inside, &Type::Bool)?)), Type::Bool),
            Kind::Negate(inside) => (Code::Negate(Box::new(self.of(inside, &Type::Int)?)), Type::Int),
            Kind::And(parts) => (Code::And(self.bools(parts)?), Type::Bool),
            Kind::Or(parts) => (Code::Or(self.bools(parts)?), Type::Bool),
            Kind::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Kind::Choose(parts) => self.choose(parts)?,
        })
    }

    /// Code of a value that must have this type.
    pub(super) fn of(&mut self, node: &Node, expected: &Type) -> Result<Code, Wrong> {
        let (code, type_) = self.node(node)?;
        if type_.meets(expected) {
            return Ok(code);
        }
        let wrong = Wrong::new(node.at, format!("{expected} should stand here, not {type_}"));
        Err(match (&type_, expected) {
            (Type::List(_), Type::Text) => wrong.hint(LIST_HINT),
            _ => wrong,
        })
    }

    fn bools(&mut self, parts: &[Node]) -> Result<Vec<Code>, Wrong> {
        parts.iter().map(|part| self.of(part, &Type::Bool)).collect()
    }

    fn list(&mut self, items: &[Node]) -> Result<Typed, Wrong> {
        let mut codes = Vec::with_capacity(items.len());
        let mut of: Option<Type> = None;
        for item in items {
            let (code, type_) = self.node(item)?;
            match &of {
                Some(of) if !of.meets(&type_) => {
                    return Err(Wrong::new(item.at, format!("the list has {of} and {type_}")));
                }
                _ => of = Some(type_),
            }
            codes.push(code);
        }
        Ok((Code::List(codes), Type::List(of.map(Box::new))))
    }

    fn name(&mut self, name: &str, at: usize) -> Result<Typed, Wrong> {
        if let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name)
            && let Some((_, type_)) = self.locals.get(slot)
        {
            return Ok((Code::Local(slot), type_.clone()));
        }
        match name {
            "now" => {
                self.looks_at_request = true;
                Ok((Code::Fact(Fact::Now), Type::Time))
            }
            "identity" | "request" | "path" | "client" => {
                Err(Wrong::new(at, format!("`{name}` is no value")).hint(match name {
                    "path" => "write `path.variable`, or `request.path` for the whole path".to_owned(),
                    _ => format!("write a field of it: {}", fields(name).join(", ")),
                }))
            }
            _ => {
                let known = self.locals.iter().map(|(local, _)| local.as_str()).chain(ROOTS);
                let wrong = Wrong::new(at, format!("there is no {}", shown(name)));
                Err(match nearest(name, known) {
                    Some(near) => wrong.hint(format!("did you mean `{near}`?")),
                    None => wrong.hint("a condition knows `identity`, `request`, `path`, `client` and `now`"),
                })
            }
        }
    }

    /// What a target stands for, if it is no value of its own.
    fn root(&self, node: &Node) -> Option<Root> {
        match &node.kind {
            Kind::Name(name) if self.locals.iter().any(|(local, _)| local == name) => None,
            Kind::Name(name) => match name.as_str() {
                "identity" => Some(Root::Identity),
                "request" => Some(Root::Request),
                "client" => Some(Root::Client),
                "path" => Some(Root::Table(Table::Variables)),
                _ => None,
            },
            Kind::Select(target, field)
                if field == "claims" && matches!(self.root(target), Some(Root::Identity)) =>
            {
                Some(Root::Table(Table::Claims))
            }
            Kind::Select(target, field) if matches!(self.root(target), Some(Root::Request)) => {
                match field.as_str() {
                    "headers" => Some(Root::Table(Table::Headers)),
                    "query" => Some(Root::Table(Table::Query)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn select(&mut self, target: &Node, field: &str, at: usize) -> Result<Typed, Wrong> {
        match self.root(target) {
            Some(Root::Table(table)) => {
                self.look(table);
                self.need(table, field);
                Ok((Code::Lookup(table, text(field)), table_type(table)))
            }
            Some(Root::Request) if matches!(field, "headers" | "query") => {
                Err(Wrong::new(at, format!("`request.{field}` as a whole is no value"))
                    .hint(format!("write `request.{field}.name`, or `\"name\" in request.{field}`")))
            }
            Some(Root::Identity) if field == "claims" => {
                Err(Wrong::new(at, "`identity.claims` as a whole is no value")
                    .hint("write `identity.claims.name`, or `\"name\" in identity.claims`"))
            }
            Some(root) => {
                self.looks_at_request |= matches!(root, Root::Client);
                fact(&root, field, at).map(|(fact, type_)| (Code::Fact(fact), type_))
            }
            None => {
                let (_, type_) = self.node(target)?;
                Err(Wrong::new(at, format!("{type_} has no field {}", shown(field))))
            }
        }
    }

    fn index(&mut self, target: &Node, index: &Node) -> Result<Typed, Wrong> {
        if let Some(Root::Table(table)) = self.root(target) {
            self.look(table);
            if let Kind::Text(name) = &index.kind {
                self.need(table, name);
            }
            let key = self.of(index, &Type::Text)?;
            return Ok((Code::Lookup(table, Box::new(key)), table_type(table)));
        }
        let (code, type_) = self.node(target)?;
        let Type::List(of) = type_ else {
            return Err(Wrong::new(target.at, format!("{type_} has no items")));
        };
        let Some(of) = of else { return Err(Wrong::new(target.at, "an empty list has no items")) };
        let index = self.of(index, &Type::Int)?;
        Ok((Code::Item(Box::new([code, index])), *of))
    }

    /// Notes that a table is looked at.
    fn look(&mut self, table: Table) {
        self.looks_at_request |= table != Table::Variables;
    }

    fn need(&mut self, table: Table, name: &str) {
        if table == Table::Variables && !self.needed.iter().any(|known| **known == *name) {
            self.needed.push(name.into());
        }
    }

    fn call(
        &mut self,
        target: Option<&Node>,
        name: &str,
        arguments: &[Node],
        at: usize,
    ) -> Result<Typed, Wrong> {
        match (target, name) {
            (None, "has") => self.has(arguments, at),
            (Some(target), "all") => self.each(Each::All, target, arguments, at),
            (Some(target), "exists") => self.each(Each::Exists, target, arguments, at),
            (Some(target), "exists_one") => self.each(Each::ExistsOne, target, arguments, at),
            _ => function::call(self, target, name, arguments, at),
        }
    }

    /// `has(identity.sub)`, `has(path.customer)`: whether it is there.
    fn has(&mut self, arguments: &[Node], at: usize) -> Result<Typed, Wrong> {
        let wrong = || Wrong::new(at, "`has` asks for a field").hint("write for example `has(identity.sub)`");
        let [Node { kind: Kind::Select(target, field), at: field_at }] = arguments else {
            return Err(wrong());
        };
        match self.root(target) {
            Some(Root::Table(table)) => {
                self.look(table);
                if table == Table::Variables {
                    self.asked.push(field.as_str().into());
                }
                Ok((Code::Known(table, text(field)), Type::Bool))
            }
            Some(Root::Request) if matches!(field.as_str(), "headers" | "query") => Err(wrong()),
            Some(root) => fact(&root, field, *field_at).map(|(fact, _)| (Code::Has(fact), Type::Bool)),
            None => Err(wrong()),
        }
    }

    fn each(&mut self, each: Each, target: &Node, arguments: &[Node], at: usize) -> Result<Typed, Wrong> {
        let [Node { kind: Kind::Name(name), at: name_at }, body] = arguments else {
            return Err(Wrong::new(at, "a name and a condition should stand in the brackets")
                .hint("write for example `identity.roles.exists(role, role == \"auditor\")`"));
        };
        if ROOTS.contains(&name.as_str()) {
            return Err(
                Wrong::new(*name_at, format!("`{name}` has a meaning already")).hint("use another name")
            );
        }
        let (list, type_) = self.node(target)?;
        let Type::List(of) = type_ else {
            return Err(Wrong::new(target.at, format!("a list should stand here, not {type_}")));
        };
        let Some(of) = of else { return Err(Wrong::new(target.at, "an empty list has no items")) };
        self.locals.push((name.clone(), *of));
        let body = self.of(body, &Type::Bool);
        self.locals.pop();
        Ok((Code::Each(each, Box::new([list, body?])), Type::Bool))
    }

    fn binary(&mut self, operator: Operator, left: &Node, right: &Node) -> Result<Typed, Wrong> {
        if operator == Operator::In
            && let Some(Root::Table(table)) = self.root(right)
        {
            self.look(table);
            if let (Table::Variables, Kind::Text(name)) = (table, &left.kind) {
                self.asked.push(name.as_str().into());
            }
            let key = self.of(left, &Type::Text)?;
            return Ok((Code::Known(table, Box::new(key)), Type::Bool));
        }
        let (one, one_type) = self.node(left)?;
        let (other, other_type) = self.node(right)?;
        let both = Box::new([one, other]);
        let clash = || {
            let wrong =
                Wrong::new(left.at, format!("{one_type} and {other_type} cannot be combined like this"));
            match (&one_type, &other_type) {
                (Type::List(_), Type::Text) | (Type::Text, Type::List(_)) => wrong.hint(LIST_HINT),
                _ => wrong,
            }
        };
        let ordered = matches!(one_type, Type::Int | Type::Text | Type::Time | Type::Span);
        Ok(match operator {
            Operator::Equal | Operator::NotEqual
                if one_type.meets(&other_type) && one_type != Type::Address =>
            {
                (Code::Equal(both, operator == Operator::Equal), Type::Bool)
            }
            Operator::In if other_type.meets(&Type::List(Some(Box::new(one_type.clone())))) => {
                (Code::In(both), Type::Bool)
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual
                if ordered && one_type == other_type =>
            {
                (Code::Order(operator, both), Type::Bool)
            }
            _ => match arithmetic(operator, &one_type, &other_type) {
                Some(result) => (Code::Math(operator, both), result),
                None => return Err(clash()),
            },
        })
    }

    fn choose(&mut self, parts: &[Node; 3]) -> Result<Typed, Wrong> {
        let [condition, yes, no] = parts;
        let condition = self.of(condition, &Type::Bool)?;
        let (yes, type_) = self.node(yes)?;
        let no = self.of(no, &type_)?;
        Ok((Code::Choose(Box::new([condition, yes, no])), type_))
    }
}

const LIST_HINT: &str = "it can have several values: write `only(…)` for the one that must be alone, or ask of each \
                         with `.all(value, …)`";

const ROOTS: [&str; 5] = ["identity", "request", "path", "client", "now"];

fn text(name: &str) -> Box<Code> {
    Box::new(Code::Constant(Constant::Text(name.into())))
}

fn table_type(table: Table) -> Type {
    match table {
        Table::Claims | Table::Headers | Table::Query => Type::texts(),
        Table::Variables => Type::Text,
    }
}

fn fields(root: &str) -> &'static [&'static str] {
    match root {
        "identity" => &["consumer", "sub", "roles", "tags", "method", "claims"],
        "request" => &["method", "path", "host", "headers", "query"],
        _ => &["address"],
    }
}

fn fact(root: &Root, field: &str, at: usize) -> Result<(Fact, Type), Wrong> {
    let (name, found) = match root {
        Root::Identity => (
            "identity",
            match field {
                "consumer" => Some((Fact::Consumer, Type::Text)),
                "sub" => Some((Fact::Sub, Type::Text)),
                "roles" => Some((Fact::Roles, Type::texts())),
                "tags" => Some((Fact::Tags, Type::texts())),
                "method" => Some((Fact::IdentityMethod, Type::Text)),
                _ => None,
            },
        ),
        Root::Request => (
            "request",
            match field {
                "method" => Some((Fact::Method, Type::Text)),
                "path" => Some((Fact::Path, Type::Text)),
                "host" => Some((Fact::Host, Type::Text)),
                _ => None,
            },
        ),
        Root::Client | Root::Table(_) => {
            ("client", (field == "address").then_some((Fact::Address, Type::Address)))
        }
    };
    found.ok_or_else(|| {
        let wrong = Wrong::new(at, format!("`{name}` has no field {}", shown(field)));
        match nearest(field, fields(name).iter().copied()) {
            Some(near) => wrong.hint(format!("did you mean `{name}.{near}`?")),
            None => wrong.hint(format!("it has {}", fields(name).join(", "))),
        }
    })
}

fn arithmetic(operator: Operator, one: &Type, other: &Type) -> Option<Type> {
    match (operator, one, other) {
        (
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder,
            Type::Int,
            Type::Int,
        ) => Some(Type::Int),
        (Operator::Add, Type::Text, Type::Text) => Some(Type::Text),
        (Operator::Add, Type::Time, Type::Span) | (Operator::Add, Type::Span, Type::Time) => Some(Type::Time),
        (Operator::Add | Operator::Subtract, Type::Span, Type::Span) => Some(Type::Span),
        (Operator::Subtract, Type::Time, Type::Span) => Some(Type::Time),
        (Operator::Subtract, Type::Time, Type::Time) => Some(Type::Span),
        _ => None,
    }
}
