//! A fix as a patch of documents: something to read, to edit and to apply, never applied by itself.

/// A fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What kind of change.
    pub kind: FixKind,
    /// The document that it changes, as `Kind/name`; the new one for an addition.
    pub target: String,
    /// The patch as YAML; empty for a removal.
    pub yaml: String,
    /// What has to be decided by whoever applies it.
    pub note: Option<&'static str>,
}

/// What kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixKind {
    /// Merge into the document (RFC 7386).
    Merge,
    /// Operations on the document (RFC 6902).
    Patch,
    /// Add a document.
    Add,
    /// Remove the document.
    Remove,
    /// Something beside the documents: a command.
    Run,
}

impl FixKind {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            FixKind::Merge => "merge",
            FixKind::Patch => "patch",
            FixKind::Add => "add",
            FixKind::Remove => "remove",
            FixKind::Run => "run",
        }
    }
}

impl Fix {
    /// Merges `spec` (YAML lines) into a document's spec.
    pub(super) fn merge(target: &str, spec: &str) -> Option<Self> {
        let yaml = format!("spec:\n{}", indented(spec));
        Some(Fix { kind: FixKind::Merge, target: target.to_owned(), yaml, note: None })
    }

    /// Merges into a document's metadata.
    pub(super) fn merge_metadata(target: &str, metadata: &str) -> Option<Self> {
        let yaml = format!("metadata:\n{}", indented(metadata));
        Some(Fix { kind: FixKind::Merge, target: target.to_owned(), yaml, note: None })
    }

    /// One operation, where the change is within a list.
    pub(super) fn patch(target: &str, op: &str, path: &str, value: &str) -> Option<Self> {
        let value = if value.is_empty() { String::new() } else { format!(", value: {value}") };
        let yaml = format!("- {{ op: {op}, path: {path}{value} }}\n");
        Some(Fix { kind: FixKind::Patch, target: target.to_owned(), yaml, note: None })
    }

    /// Adds a document.
    pub(super) fn add(kind: &str, name: &str, spec: &str) -> Option<Self> {
        let yaml = format!(
            "apiVersion: management.v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n{}",
            indented(spec)
        );
        Some(Fix { kind: FixKind::Add, target: format!("{kind}/{name}"), yaml, note: None })
    }

    /// Removes a document.
    pub(super) fn remove(target: &str) -> Option<Self> {
        Some(Fix { kind: FixKind::Remove, target: target.to_owned(), yaml: String::new(), note: None })
    }

    /// A command.
    pub(super) fn run(command: String) -> Option<Self> {
        Some(Fix { kind: FixKind::Run, target: String::new(), yaml: format!("{command}\n"), note: None })
    }
}

/// Says what has to be decided by whoever applies a fix.
pub(super) fn noted(fix: Option<Fix>, note: &'static str) -> Option<Fix> {
    fix.map(|fix| Fix { note: Some(note), ..fix })
}

fn indented(yaml: &str) -> String {
    yaml.lines().map(|line| format!("  {line}\n")).collect()
}
