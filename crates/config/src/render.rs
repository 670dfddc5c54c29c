//! Problems as people and programs read them.
//!
//! Text is in the form of `docs/conventions.md` section 9: severity, code, place, path; then what is wrong, the line it
//! stands in, and the next step. It is understandable without colour. Programs get one JSON object per problem. Lines
//! that may show a secret are shown without it (`render/veil.rs`).

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use bartizan_model::problem::{Code, Problem, Problems, Severity, Span};
use serde::Serialize;
use serde_json::Value;

use crate::source::Sources;

mod excerpt;
mod veil;

use excerpt::excerpt;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With ANSI colours.
    Coloured,
    /// Without any.
    Plain,
}

/// All problems as text, each followed by an empty line, and the summary at the end; empty when there are none.
pub fn text(problems: &Problems, sources: &Sources, style: Style) -> String {
    let mut out = printed(problems, sources, style, |_| true);
    if !problems.is_empty() {
        out.push_str(&summary(problems));
        out.push('\n');
    }
    out
}

/// Those of one severity as text, each followed by an empty line; no summary.
pub fn section(problems: &Problems, severity: Severity, sources: &Sources, style: Style) -> String {
    printed(problems, sources, style, |problem| problem.severity == severity)
}

fn printed(
    problems: &Problems,
    sources: &Sources,
    style: Style,
    is_wanted: impl Fn(&Problem) -> bool,
) -> String {
    // The secrets of all problems: a line that is shown for one may hold the secret of another.
    let printer = Printer {
        sources,
        style,
        secrets: problems
            .iter()
            .filter(|problem| problem.code == Code::SecretInDocument)
            .map(|p| p.at)
            .collect(),
    };
    let mut out = String::new();
    for problem in problems.iter().filter(|problem| is_wanted(problem)) {
        out.push_str(&printer.problem(problem));
        out.push('\n');
    }
    out
}

/// How many of each severity: `2 problems, 1 warning`; `no problems` when there is nothing.
pub fn summary(problems: &Problems) -> String {
    let mut parts = Vec::new();
    let mut unseen = 0;
    for severity in [Severity::Problem, Severity::Warning, Severity::Exposure] {
        let count = problems.count(severity);
        unseen += count.saturating_sub(Problems::KEPT);
        match count {
            0 => {}
            1 => parts.push(format!("1 {severity}")),
            _ => parts.push(format!("{count} {severity}s")),
        }
    }
    match (parts.is_empty(), unseen) {
        (true, _) => "no problems".to_owned(),
        (false, 0) => parts.join(", "),
        (false, _) => format!("{} ({unseen} of them not shown)", parts.join(", ")),
    }
}

/// One problem as an object: `code`, `severity`, `file`, `line`, `column`, `path`, `message`, `hint`, and `also` with
/// the other places that take part. What does not apply is null.
pub fn json(problem: &Problem, sources: &Sources) -> Value {
    // Only strings and numbers under fixed names: there is nothing that could fail.
    serde_json::to_value(Line::of(problem, sources)).unwrap_or_default()
}

/// All problems, one JSON object a line.
pub fn json_lines(problems: &Problems, sources: &Sources) -> String {
    let lines =
        problems.iter().map(|problem| serde_json::to_string(&Line::of(problem, sources)).unwrap_or_default());
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// All problems as a JSON array.
pub fn json_array(problems: &Problems, sources: &Sources) -> Value {
    problems.iter().map(|problem| json(problem, sources)).collect()
}

/// A problem for programs; the order of the fields is the order of the output.
#[derive(Serialize)]
struct Line<'a> {
    code: &'a str,
    severity: &'a str,
    #[serde(flatten)]
    place: Place<'a>,
    path: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    also: Vec<Also<'a>>,
}

/// Another place that takes part.
#[derive(Serialize)]
struct Also<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    message: &'a str,
}

#[derive(Serialize)]
struct Place<'a> {
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
}

impl<'a> Line<'a> {
    fn of(problem: &'a Problem, sources: &'a Sources) -> Self {
        Line {
            code: problem.code.as_str(),
            severity: problem.severity.as_str(),
            place: Place::of(&problem.at, sources),
            path: &problem.path,
            message: &problem.message,
            hint: problem.hint.as_deref(),
            also: problem
                .also
                .iter()
                .map(|(at, role)| Also { place: Place::of(at, sources), message: role })
                .collect(),
        }
    }
}

impl<'a> Place<'a> {
    fn of(at: &Span, sources: &'a Sources) -> Self {
        let number = |value: u32| at.is_place().then_some(value);
        let file = sources.get(at.file).map(|source| source.name());
        Place { file, line: number(at.line), column: number(at.column) }
    }
}

/// What all problems of a report are printed with.
struct Printer<'a> {
    sources: &'a Sources,
    style: Style,
    /// Where values stand that no line may show, whichever problem it is shown for.
    secrets: Vec<Span>,
}

impl Printer<'_> {
    fn problem(&self, problem: &Problem) -> String {
        let colour = match problem.severity {
            Severity::Problem => "1;31",
            Severity::Warning => "1;33",
            Severity::Exposure => "1;35",
        };
        let mut out = self.paint(colour, &format!("{} {}", problem.severity, problem.code));
        for part in [self.place(&problem.at), problem.path.clone()] {
            if !part.is_empty() {
                out.push_str("  ");
                out.push_str(&self.paint("1", &part));
            }
        }
        out.push_str(&format!("\n  {}\n", problem.message));
        out.push_str(&self.snippet(&problem.at, None, problem.severity));
        for (at, role) in &problem.also {
            let elsewhere = (at.file != problem.at.file).then(|| format!("{role} ({})", self.place(at)));
            out.push_str(&self.snippet(at, Some(elsewhere.as_deref().unwrap_or(role)), problem.severity));
        }
        if let Some(hint) = &problem.hint {
            out.push_str(&format!("\n{}: {hint}\n", self.paint("1;36", "hint")));
        }
        out
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.style {
            Style::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
            Style::Plain => text.to_owned(),
        }
    }

    /// `file:line:column`, as far as there is one.
    fn place(&self, at: &Span) -> String {
        let Some(source) = self.sources.get(at.file) else { return String::new() };
        // A file's name is input too and must not steer the terminal.
        let name = source.name().replace(char::is_control, "?");
        if at.is_place() { format!("{name}:{}:{}", at.line, at.column) } else { name }
    }

    /// The line in which something stands, marked; a place that takes part has a label.
    fn snippet(&self, at: &Span, label: Option<&str>, severity: Severity) -> String {
        let source = self.sources.get(at.file).filter(|_| at.is_place());
        let Some(excerpt) = source.and_then(|source| excerpt(source.text(), at, &self.secrets)) else {
            return String::new();
        };
        let level = match severity {
            Severity::Problem => Level::ERROR,
            Severity::Warning | Severity::Exposure => Level::WARNING,
        };
        let renderer = match self.style {
            Style::Coloured => Renderer::styled(),
            Style::Plain => Renderer::plain(),
        };
        let kind = if label.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
        let annotation = kind.span(excerpt.span).label(label.map(str::to_owned));
        let line = usize::try_from(at.line).unwrap_or(usize::MAX);
        let snippet = Snippet::source(excerpt.line).line_start(line).fold(false).annotation(annotation);
        let mut rendered = renderer.render(&[Group::with_level(level).element(snippet)]);
        rendered.push('\n');
        rendered
    }
}

#[cfg(test)]
mod tests;
