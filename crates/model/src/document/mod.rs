//! The documents: one file per kind, each written once in the document language.
//!
//! A [`Document`] is what one YAML or JSON document says, typed and with places, before anything is resolved. Which
//! kinds exist is the table at the `kinds!` invocation below; adding a kind is a file and a row.

use std::collections::BTreeMap;

use crate::{
    node::Node,
    problem::{Code, Problem, Problems, Span, shown},
    read::{Fields, Path, Read, Spanned, word},
    scalar::Name,
    shape::{Field, Object, Shape, Word},
};

pub mod alert_policy;
pub mod authentication;
pub mod authorization;
pub mod cache;
pub mod common;
pub mod consumer;
pub mod cors;
pub mod header;
pub mod inspection;
pub mod key_rotation;
pub mod listener;
pub mod model;
pub mod notice_channel;
pub mod policy_test;
pub mod prompt;
pub mod quota;
pub mod rate_limit;
pub mod record;
pub mod role;
pub mod route;
pub mod schema;
pub mod secret;
pub mod team;
pub mod upstream;
pub mod upstream_policy;

/// The version every document states.
pub const API_VERSION: &str = "management.v1";

/// Reserved as the second spelling, for Kubernetes.
pub const API_VERSION_KUBERNETES: &str = "management.bartizan.dev/v1";

crate::document! {
    /// What a document is called.
    pub struct Metadata: Default {
        /// The name; unique per kind. The file's stem where absent.
        pub name: Option<Spanned<Name>>,
        /// Labels for your own order.
        pub labels: BTreeMap<String, String> = BTreeMap::new(),
        /// Notes for people and tools; never interpreted.
        pub annotations: BTreeMap<String, String> = BTreeMap::new(),
    }
}

macro_rules! kinds {
    ($($kind:ident => $spec:ty, $plural:literal;)+) => {
        /// The kind of a document.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(
                #[doc = concat!("See [`", stringify!($spec), "`].")]
                $kind,
            )+
        }

        impl Kind {
            /// All kinds, alphabetical.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)+];

            /// The word in documents.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind),)+ }
            }

            /// Several of them, for file names and lists.
            pub const fn plural(self) -> &'static str {
                match self { $(Kind::$kind => $plural,)+ }
            }

            /// The shape of the kind's `spec`.
            pub fn spec_shape(self) -> Shape {
                match self { $(Kind::$kind => <$spec as Read>::shape(),)+ }
            }
        }

        impl Read for Kind {
            fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
                let mut found = Problems::new();
                let kind = word(node, &[$((stringify!($kind), Kind::$kind)),+], at, &mut found);
                problems.extend(found.map(|problem| match problem.code {
                    Code::BadWord => Problem { code: Code::UnknownKind, ..problem },
                    _ => problem,
                }));
                kind
            }

            fn shape() -> Shape {
                Shape::Choice {
                    name: "Kind",
                    doc: "What a document is.".to_owned(),
                    words: vec![$(Word::new(stringify!($kind), "")),+],
                }
            }
        }

        /// What a document says, by kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $(
                #[doc = concat!("The `spec` of a ", stringify!($kind), ".")]
                $kind(Box<$spec>),
            )+
        }

        impl Spec {
            /// The kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Spec::$kind(_) => Kind::$kind,)+ }
            }

            fn read(kind: Kind, node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
                match kind { $(Kind::$kind => <$spec>::read(node, at, problems).map(|spec| Spec::$kind(Box::new(spec))),)+ }
            }
        }

        impl serde::Serialize for Spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Spec::$kind(spec) => spec.serialize(serializer),)+ }
            }
        }
    };
}

kinds! {
    AlertPolicy => alert_policy::AlertPolicySpec, "alert-policies";
    AuthenticationPolicy => authentication::AuthenticationPolicySpec, "authentication-policies";
    AuthorizationPolicy => authorization::AuthorizationPolicySpec, "authorization-policies";
    CachePolicy => cache::CachePolicySpec, "cache-policies";
    Consumer => consumer::ConsumerSpec, "consumers";
    CorsPolicy => cors::CorsPolicySpec, "cors-policies";
    HeaderPolicy => header::HeaderPolicySpec, "header-policies";
    InspectionPolicy => inspection::InspectionPolicySpec, "inspection-policies";
    KeyRotationPolicy => key_rotation::KeyRotationPolicySpec, "key-rotation-policies";
    Listener => listener::ListenerSpec, "listeners";
    Model => model::ModelSpec, "models";
    NoticeChannel => notice_channel::NoticeChannelSpec, "notice-channels";
    PolicyTest => policy_test::PolicyTestSpec, "policy-tests";
    PromptTemplate => prompt::PromptTemplateSpec, "prompt-templates";
    QuotaPolicy => quota::QuotaPolicySpec, "quota-policies";
    RateLimitPolicy => rate_limit::RateLimitPolicySpec, "rate-limit-policies";
    RecordPolicy => record::RecordPolicySpec, "record-policies";
    Role => role::RoleSpec, "roles";
    Route => route::RouteSpec, "routes";
    SchemaPolicy => schema::SchemaPolicySpec, "schema-policies";
    Secret => secret::SecretSpec, "secrets";
    Team => team::TeamSpec, "teams";
    Upstream => upstream::UpstreamSpec, "upstreams";
    UpstreamPolicy => upstream_policy::UpstreamPolicySpec, "upstream-policies";
}

/// One document, typed and with places.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it begins.
    pub at: Span,
    /// Where its `kind` stands.
    pub kind_at: Span,
    /// Its name: `metadata.name`, else the stem of its file.
    pub name: Spanned<Name>,
    /// Its metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
}

impl Document {
    /// Reads a document; every problem in it is reported. `None` means that there was at least one; `Some` does not mean
    /// that there was none: a document with an unknown field is read on, so that what it says is checked too.
    ///
    /// `fallback_name` is the name a document without `metadata.name` gets: the stem of its file. An unknown kind ends
    /// the reading, because nothing can be said about a `spec` of unknown shape.
    pub fn read(node: &Node, fallback_name: Option<&str>, problems: &mut Problems) -> Option<Self> {
        let mut at = Path::root();
        let fields =
            Fields::open::<Envelope>(node, &["apiVersion", "kind", "metadata", "spec"], &mut at, problems)?;
        let version = fields.take::<Spanned<String>>("apiVersion", None, &mut at, problems);
        if let Some(version) =
            version.filter(|version| ![API_VERSION, API_VERSION_KUBERNETES].contains(&&***version))
        {
            let message = format!("there is no version {} of the document language", shown(&version));
            problems.push(
                Problem::new(Code::UnknownVersion, version.at, "apiVersion", message)
                    .hint(format!("write `apiVersion: {API_VERSION}`")),
            );
        }
        let kind = fields.take::<Spanned<Kind>>("kind", None, &mut at, problems);
        let metadata = fields.take::<Metadata>("metadata", Some(Metadata::default), &mut at, problems);
        let name = metadata.as_ref().and_then(|metadata| name_of(node, metadata, fallback_name, problems));
        let kind = kind?;
        let spec = match node.get("spec") {
            Some(spec) => at.field("spec", |at| Spec::read(*kind, spec, at, problems)),
            None => {
                let message = "the field `spec` is missing";
                problems.push(Problem::new(Code::MissingField, node.at, "spec", message));
                None
            }
        };
        Some(Document { at: node.at, kind_at: kind.at, name: name?, metadata: metadata?, spec: spec? })
    }

    /// The document's kind.
    pub const fn kind(&self) -> Kind {
        self.spec.kind()
    }
}

/// The name in the metadata, else the stem of the file.
fn name_of(
    node: &Node,
    metadata: &Metadata,
    stem: Option<&str>,
    problems: &mut Problems,
) -> Option<Spanned<Name>> {
    if let Some(name) = &metadata.name {
        return Some(name.clone());
    }
    match stem.map(Name::parse) {
        Some(Ok(name)) => Some(Spanned::new(name, node.at)),
        _ => {
            problems.push(
                Problem::new(Code::NameMissing, node.at, "metadata.name", "the document has no name")
                    .hint("write `metadata: { name: … }`, or give the file a name of lower-case letters, digits and `-`"),
            );
            None
        }
    }
}

/// What every document is wrapped in; only its shape is used, for messages.
struct Envelope;

impl Read for Envelope {
    fn read(_: &Node, _: &mut Path, _: &mut Problems) -> Option<Self> {
        Some(Envelope)
    }

    fn shape() -> Shape {
        let text = || Shape::Text { format: "text", pattern: None, example: None };
        Shape::Object(Object::new(
            "Document",
            "A document.",
            vec![
                Field::required("apiVersion", "The version of the document language.", text()),
                Field::required("kind", "What it is.", Kind::shape()),
                Field::optional("metadata", "What it is called.", None, Metadata::shape()),
                Field::required("spec", "What it says.", text()),
            ],
        ))
    }
}
