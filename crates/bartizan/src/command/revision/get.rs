//! `bartizan get`: the documents of a revision, as they were written or for programs.

use std::process::ExitCode;

use bartizan_config::Set;
use bartizan_model::document::{API_VERSION, Document, Kind};
use bartizan_store::RevisionRef;
use serde_json::{Map, Value, json};

use super::{
    base,
    candidate::set_of,
    house::{HouseArg, Refused},
};
use crate::command::print::{self, Outcome};

/// What `get` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which documents: `KIND`, or `KIND/NAME` for one [default: a list of all].
    #[arg(value_name = "KIND[/NAME]", value_parser = what)]
    what: Option<What>,
    /// Of this revision: its number or digest [default: the active one].
    #[arg(long, value_name = "REV", value_parser = base::revision)]
    revision: Option<RevisionRef>,
    #[command(flatten)]
    house: HouseArg,
    /// How they are printed: a list, as they were written (comments included), or for programs [default: a list of
    /// all, otherwise as they were written].
    #[arg(long, value_enum)]
    format: Option<Form>,
}

/// How documents are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One JSON value.
    Json,
    /// A table of names and places.
    Table,
    /// The text as it was written.
    Yaml,
}

/// Which documents.
#[derive(Clone, Debug)]
struct What {
    kind: Kind,
    name: Option<String>,
}

fn what(text: &str) -> Result<What, String> {
    let (word, name) = match text.split_once('/') {
        Some((word, name)) => (word, Some(name.to_owned())),
        None => (text, None),
    };
    let is_meant = |kind: &&Kind| {
        kind.as_str().eq_ignore_ascii_case(word)
            || kind.plural().eq_ignore_ascii_case(word)
            || format!("{}s", kind.as_str()).eq_ignore_ascii_case(word)
    };
    match Kind::ALL.iter().find(is_meant) {
        Some(kind) => Ok(What { kind: *kind, name }),
        None => Err(format!("there is no kind {word:?}; `bartizan schema` lists those there are")),
    }
}

/// Shows documents.
pub(crate) fn run(args: &Args) -> ExitCode {
    super::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let house = args.house.open()?;
    let which = args.revision.clone().unwrap_or(RevisionRef::Active);
    let revision = house.get(&which)?;
    let set = set_of(&revision)?;
    let is_wanted = |document: &&Document| match &args.what {
        None => true,
        Some(What { kind, name }) => {
            document.kind() == *kind && name.as_deref().is_none_or(|name| document.name.as_str() == name)
        }
    };
    let mut documents: Vec<&Document> = set.documents.iter().filter(is_wanted).collect();
    documents.sort_by_key(|document| (document.kind(), document.name.as_str()));
    if let (Some(What { kind, name: Some(name) }), true) = (&args.what, documents.is_empty()) {
        let tag = revision.row.tag();
        return Err(Box::new(Refused(format!("revision {tag} has no {}/{name}", kind.as_str()))));
    }
    let form = args.format.unwrap_or(if args.what.is_none() { Form::Table } else { Form::Yaml });
    match form {
        Form::Table => {
            print::data(&table(&set, &documents))?;
            print::note(&format!(
                "revision {}, {}",
                revision.row.tag(),
                print::counted(documents.len() as u64, "document")
            ));
        }
        Form::Yaml => {
            let texts: Vec<&str> = documents.iter().filter_map(|document| text(&set, document)).collect();
            print::data(
                &texts.iter().map(|text| format!("{}\n", text.trim_end())).collect::<Vec<_>>().join("---\n"),
            )?;
        }
        Form::Json => match (&args.what, documents.as_slice()) {
            (Some(What { name: Some(_), .. }), [only]) => print::json(&to_json(only))?,
            _ => {
                let list: Vec<Value> = documents.iter().map(|document| to_json(document)).collect();
                print::json(
                    &json!({ "revision": super::history::to_json(&revision.row), "documents": list }),
                )?;
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn table(set: &Set, documents: &[&Document]) -> String {
    let rows = documents.iter().map(|document| {
        let file = set.sources.get(document.at.file).map_or("", |source| source.name());
        vec![
            document.kind().as_str().to_owned(),
            document.name.as_str().to_owned(),
            format!("{file}:{}", document.at.line),
        ]
    });
    print::table(&["KIND", "NAME", "PLACE"], rows)
}

/// A document as it would be written, without what goes without saying.
fn to_json(document: &Document) -> Value {
    let metadata = serde_json::to_value(&document.metadata).unwrap_or_default();
    let mut metadata = metadata.as_object().cloned().unwrap_or_else(Map::new);
    metadata.insert("name".to_owned(), document.name.as_str().into());
    json!({
        "apiVersion": API_VERSION,
        "kind": document.kind().as_str(),
        "metadata": metadata,
        "spec": document.spec,
    })
}

/// The text of a document, from the marker before it to the one behind it.
fn text<'s>(set: &'s Set, document: &Document) -> Option<&'s str> {
    let whole = set.sources.get(document.at.file)?.text();
    let start = usize::try_from(document.at.start).ok()?;
    let is_marker = |line: &str| matches!(line.trim_end(), "---" | "...") || line.starts_with("--- ");
    let (mut from, mut at) = (0, 0);
    for line in whole.split_inclusive('\n') {
        if is_marker(line) {
            if at > start {
                return whole.get(from..at);
            }
            // What stands behind the marker on its line belongs to the document.
            from = if line.trim_end().len() > 3 { at + 4 } else { at + line.len() };
        }
        at += line.len();
    }
    whole.get(from..)
}

#[cfg(test)]
mod tests {
    use bartizan_config::source::Sources;

    use super::*;

    #[test]
    fn a_document_is_cut_out_as_it_was_written() {
        let one = "# the first\napiVersion: management.v1\nkind: Consumer\nmetadata: { name: a }\nspec: {}\n";
        let two = one.replace("first", "second").replace("name: a", "name: b");
        let json = "{\"apiVersion\": \"management.v1\", \"kind\": \"Consumer\", \"metadata\": {\"name\": \"c\"}, \"spec\": {}}\n";
        let set =
            Set::from_sources(Sources::kept([("x.yaml", format!("---\n{one}---\n{two}...\n--- {json}"))]));
        let texts: Vec<_> = set.documents.iter().map(|document| text(&set, document).unwrap()).collect();
        assert_eq!(texts, [one, &two, json]);
        let alone = Set::from_sources(Sources::kept([("x.yaml", one)]));
        assert_eq!(text(&alone, &alone.documents[0]), Some(one));
    }
}
