//! The grammar of conditions: CEL's, without message literals and without what conditions have no use for.
//!
//! Recursive descent with the depth counted at every step down and the length of every chain limited, so neither the
//! parser nor anything that walks its tree can be driven deep. Chains of `&&` and `||` are one node each.

use super::{
    Wrong,
    lex::{Token, Word},
};

/// A node and the first byte of its text.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Node>),
    Name(String),
    Select(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    /// A function, or a method of its target.
    Call(Option<Box<Node>>, String, Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Choose(Box<[Node; 3]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// 32 levels of brackets and operators: deeper than anybody can follow.
const DEPTH_MAX: usize = 32;

/// 32 steps of `a + b + …` or `a.b.c…`: these chains become as deep as they are long.
const CHAIN_MAX: usize = 32;

/// Parses the words of a text of this length.
pub(super) fn parse(tokens: &[Token], length: usize) -> Result<Node, Wrong> {
    let mut parser = Parser { rest: tokens, end: length, depth: 0 };
    let node = parser.choose()?;
    match parser.rest.first() {
        None => Ok(node),
        Some(token) => Err(Wrong::new(token.at, format!("{} is not expected here", token.word.shown()))),
    }
}

struct Parser<'t> {
    rest: &'t [Token],
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    /// `condition ? this : that`, the weakest operator; right-associative.
    fn choose(&mut self) -> Result<Node, Wrong> {
        self.deeper(|parser| {
            let node = parser.or()?;
            if !parser.take("?") {
                return Ok(node);
            }
            let yes = parser.or()?;
            parser.expect(":")?;
            let no = parser.choose()?;
            Ok(Node { at: node.at, kind: Kind::Choose(Box::new([node, yes, no])) })
        })
    }

    fn or(&mut self) -> Result<Node, Wrong> {
        self.joined("||", Parser::and, Kind::Or)
    }

    fn and(&mut self) -> Result<Node, Wrong> {
        self.joined("&&", Parser::relation, Kind::And)
    }

    fn joined(
        &mut self,
        mark: &str,
        part: impl Fn(&mut Self) -> Result<Node, Wrong>,
        kind: impl FnOnce(Vec<Node>) -> Kind,
    ) -> Result<Node, Wrong> {
        let first = part(self)?;
        if !self.next_is(mark) {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![first];
        while self.take(mark) {
            parts.push(part(self)?);
        }
        Ok(Node { at, kind: kind(parts) })
    }

    fn relation(&mut self) -> Result<Node, Wrong> {
        self.chain(Parser::sum, |word| match word {
            Word::Mark("==") => Some(Operator::Equal),
            Word::Mark("!=") => Some(Operator::NotEqual),
            Word::Mark("<") => Some(Operator::Less),
            Word::Mark("<=") => Some(Operator::LessOrEqual),
            Word::Mark(">") => Some(Operator::Greater),
            Word::Mark(">=") => Some(Operator::GreaterOrEqual),
            Word::Name(name) if name == "in" => Some(Operator::In),
            _ => None,
        })
    }

    fn sum(&mut self) -> Result<Node, Wrong> {
        self.chain(Parser::product, |word| match word {
            Word::Mark("+") => Some(Operator::Add),
            Word::Mark("-") => Some(Operator::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Node, Wrong> {
        self.chain(Parser::unary, |word| match word {
            Word::Mark("*") => Some(Operator::Multiply),
            Word::Mark("/") => Some(Operator::Divide),
            Word::Mark("%") => Some(Operator::Remainder),
            _ => None,
        })
    }

    /// Left-associative operators of one strength.
    fn chain(
        &mut self,
        part: impl Fn(&mut Self) -> Result<Node, Wrong>,
        operator: impl Fn(&Word) -> Option<Operator>,
    ) -> Result<Node, Wrong> {
        let mut node = part(self)?;
        let mut steps = 0;
        while let Some(operator) = self.rest.first().and_then(|token| operator(&token.word)) {
            self.step(&mut steps)?;
            self.advance();
            let right = part(self)?;
            node = Node { at: node.at, kind: Kind::Binary(operator, Box::new(node), Box::new(right)) };
        }
        Ok(node)
    }

    fn unary(&mut self) -> Result<Node, Wrong> {
        let at = self.at();
        if self.take("!") {
            let node = self.deeper(Parser::unary)?;
            return Ok(Node { at, kind: Kind::Not(Box::new(node)) });
        }
        if self.take("-") {
            if let Some(Token { word: Word::Number(number), .. }) = self.rest.first() {
                let number = 0_i64.checked_sub_unsigned(*number).unwrap_or(i64::MIN);
                self.advance();
                return self.member(Node { at, kind: Kind::Int(number) });
            }
            let node = self.deeper(Parser::unary)?;
            return Ok(Node { at, kind: Kind::Negate(Box::new(node)) });
        }
        let node = self.primary()?;
        self.member(node)
    }

    /// What follows a value: `.name`, `.method(…)`, `[index]`.
    fn member(&mut self, mut node: Node) -> Result<Node, Wrong> {
        let mut steps = 0;
        loop {
            let at = node.at;
            if self.take(".") {
                self.step(&mut steps)?;
                let name = self.name()?;
                let kind = if self.take("(") {
                    Kind::Call(Some(Box::new(node)), name, self.list(")")?)
                } else {
                    Kind::Select(Box::new(node), name)
                };
                node = Node { at, kind };
            } else if self.take("[") {
                self.step(&mut steps)?;
                let index = self.choose()?;
                self.expect("]")?;
                node = Node { at, kind: Kind::Index(Box::new(node), Box::new(index)) };
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, Wrong> {
        let at = self.at();
        let Some(token) = self.rest.first() else {
            return Err(Wrong::new(self.end, "the condition ends where a value should stand"));
        };
        let unexpected = || Wrong::new(at, format!("a value should stand here, not {}", token.word.shown()));
        let kind = match &token.word {
            Word::Number(number) => {
                Kind::Int(i64::try_from(*number).map_err(|_| Wrong::new(at, "the number is out of range"))?)
            }
            Word::Text(text) => Kind::Text(text.clone()),
            Word::Name(name) => match name.as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "null" => return Err(unexpected().hint("what is absent is asked for by `has(…)`")),
                "in" => return Err(unexpected()),
                _ => Kind::Name(name.clone()),
            },
            Word::Mark("(") => {
                self.advance();
                let node = self.choose()?;
                self.expect(")")?;
                return Ok(node);
            }
            Word::Mark("[") => {
                self.advance();
                return Ok(Node { at, kind: Kind::List(self.list("]")?) });
            }
            Word::Mark("{") => return Err(Wrong::new(at, "maps are not part of conditions")),
            Word::Mark(_) => return Err(unexpected()),
        };
        self.advance();
        match kind {
            Kind::Name(name) if self.take("(") => {
                Ok(Node { at, kind: Kind::Call(None, name, self.list(")")?) })
            }
            kind => Ok(Node { at, kind }),
        }
    }

    /// Values up to a closing bracket, which is taken.
    fn list(&mut self, close: &'static str) -> Result<Vec<Node>, Wrong> {
        let mut items = Vec::new();
        loop {
            if self.take(close) {
                return Ok(items);
            }
            if !items.is_empty() {
                self.expect(",")?;
                // CEL lets a list end with a comma, but not the arguments of a call.
                if close == "]" && self.take(close) {
                    return Ok(items);
                }
            }
            items.push(self.choose()?);
        }
    }

    fn name(&mut self) -> Result<String, Wrong> {
        match self.rest.first() {
            Some(Token { word: Word::Name(name), .. })
                if !matches!(name.as_str(), "true" | "false" | "null" | "in") =>
            {
                let name = name.clone();
                self.advance();
                Ok(name)
            }
            _ => Err(Wrong::new(self.at(), "a name should stand behind the dot")
                .hint("a name with other characters is written `[\"…\"]`")),
        }
    }

    fn deeper(&mut self, inside: impl FnOnce(&mut Self) -> Result<Node, Wrong>) -> Result<Node, Wrong> {
        if self.depth == DEPTH_MAX {
            return Err(Wrong::new(
                self.at(),
                format!("the condition is nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        self.depth += 1;
        let node = inside(self);
        self.depth -= 1;
        node
    }

    fn step(&self, steps: &mut usize) -> Result<(), Wrong> {
        *steps += 1;
        if *steps > CHAIN_MAX {
            return Err(Wrong::new(
                self.at(),
                format!("more than {CHAIN_MAX} of these cannot follow each other"),
            ));
        }
        Ok(())
    }

    fn at(&self) -> usize {
        self.rest.first().map_or(self.end, |token| token.at)
    }

    fn next_is(&self, mark: &str) -> bool {
        matches!(self.rest.first(), Some(Token { word: Word::Mark(next), .. }) if *next == mark)
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = self.next_is(mark);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), Wrong> {
        if self.take(mark) {
            return Ok(());
        }
        let found = self.rest.first().map_or("the end".to_owned(), |token| token.word.shown());
        Err(Wrong::new(self.at(), format!("`{mark}` should stand here, not {found}")))
    }

    fn advance(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }
}

impl Word {
    fn shown(&self) -> String {
        match self {
            Word::Name(name) => bartizan_model::problem::shown(name),
            Word::Number(number) => format!("`{number}`"),
            // A string may be long, and what it says does not matter for the grammar.
            Word::Text(_) => "a string".to_owned(),
            Word::Mark(mark) => format!("`{mark}`"),
        }
    }
}
