//! What the commands print, and where: data on standard output, everything else on standard error.
//!
//! Colour appears on a terminal only, and never with `NO_COLOR`; everything reads the same without it. A reader that
//! has seen enough and went away (`| head`) is not a fault.

use std::{
    error::Error,
    io::{self, ErrorKind, IsTerminal, Write},
    process::ExitCode,
};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Problems were found, or what was asked for does not exist.
pub(crate) const FOUND: u8 = 1;

/// The command could not run.
pub(crate) const COULD_NOT_RUN: u8 = 2;

/// What a command ended with; an error means that it could not run.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error>>;

/// The exit code of a command; says why where it could not run.
pub(crate) fn exit(outcome: Outcome) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        fault(&*error);
        ExitCode::from(COULD_NOT_RUN)
    })
}

/// Says an error with all its causes.
pub(crate) fn fault(error: &dyn Error) {
    note(&format!("{BOLD_RED}error{PLAIN}: {}", clean(&chain(error))));
}

/// Prints data on standard output, as it is.
pub(crate) fn data(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    seen(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints one JSON value on standard output. It is written as it is made, so that a secret in it is not copied.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from);
    seen(written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()))
}

/// Says something on standard error, on a line of its own. Without a standard error nobody could be told anyway.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Columns under a header: as wide as they are when piped, fitted to the terminal otherwise.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    fitted(header, rows.into_iter().collect(), terminal_width())
}

fn fitted(header: &[&str], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    // On a terminal, columns that say nothing give their room to the others.
    let is_kept = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        width.is_none() || cells.any(|cell| !cell.is_empty() && cell != NONE)
    };
    let kept: Vec<usize> = (0..header.len()).filter(|column| rows.is_empty() || is_kept(*column)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(kept.iter().filter_map(|column| header.get(*column)));
    for row in &rows {
        table.add_row(kept.iter().filter_map(|column| row.get(*column)).map(|cell| clean(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        keep_whole(&mut table, width);
    }
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}

/// The first columns say whom a row is about: they are not broken as long as half of the width is left. The column
/// with most to say gets a third, because text in a narrow strip cannot be read.
fn keep_whole(table: &mut Table, width: u16) {
    let widths = table.column_max_content_widths();
    let widest = (2..widths.len()).max_by_key(|column| widths.get(*column));
    let mut left = width / 2;
    for (at, (column, content)) in table.column_iter_mut().zip(widths).enumerate() {
        if Some(at) == widest && content > width / 3 {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width / 3)));
        } else if at < 2 {
            let rest = left.checked_sub(content.saturating_add(2));
            if rest.is_some() {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            left = rest.unwrap_or(0);
        }
    }
}

/// What a cell shows when there is nothing to show.
pub(crate) const NONE: &str = "–";

/// Input as a terminal may show it: documents, files and keys have names that must not steer it.
pub(crate) fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

/// One and many: `1 warning`, `2 warnings`.
pub(crate) fn counted(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

pub(crate) const BOLD_RED: &str = "\x1b[1;31m";
pub(crate) const BOLD_GREEN: &str = "\x1b[1;32m";
pub(crate) const BOLD: &str = "\x1b[1m";
pub(crate) const PLAIN: &str = "\x1b[0m";

/// The message and its causes, except those that the message before already tells.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        next = cause.source();
    }
    text
}

fn seen(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn terminal_width() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    // A terminal that does not tell its width gets lines that it may break itself.
    terminal_size::terminal_size_of(out).map(|(width, _)| width.0.max(WIDTH_MIN))
}

/// Below this, columns of single letters would be the result.
const WIDTH_MIN: u16 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headers_and_lines_have_no_tail() {
        let rows = vec![vec!["a".to_owned(), "x".to_owned()], vec!["long name".to_owned(), String::new()]];
        assert_eq!(fitted(&["ID", "NAME"], rows, None), "ID         NAME\na          x\nlong name\n");
        assert_eq!(fitted(&["ID", "NAME"], Vec::new(), None), "ID  NAME\n");
        assert_eq!(fitted(&["ID", "NAME"], Vec::new(), Some(60)), "ID  NAME\n");
    }

    #[test]
    fn a_terminal_gets_lines_that_fit_and_no_column_that_says_nothing() {
        let text = "many words that do not fit into the line of a terminal of sixty columns";
        let row = ["a-name-of-some-length", NONE, text].map(str::to_owned).to_vec();
        let out = fitted(&["NAME", "NONE", "TEXT"], vec![row], Some(60));
        assert!(out.lines().count() > 2 && out.lines().all(|line| line.chars().count() <= 60), "{out}");
        assert!(out.contains("a-name-of-some-length  ") && !out.contains("NONE"), "{out}");
    }

    #[test]
    fn what_is_shown_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc"), "a?[2Jb?\nc");
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Step(&'static str, #[source] Option<Box<Step>>);
        let inner = Step("no such file", None);
        let told = Step("a.yaml cannot be read: no such file", Some(Box::new(inner)));
        assert_eq!(chain(&told), "a.yaml cannot be read: no such file");
        let untold = Step("cannot open a.yaml", Some(Box::new(Step("no such file", None))));
        assert_eq!(chain(&untold), "cannot open a.yaml: no such file");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "key")), ["0 keys", "1 key", "2 keys"]);
    }
}
