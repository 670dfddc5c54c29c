//! `CachePolicy` → [`CachePlan`].

use std::sync::Arc;

use bartizan_cache::{Authorized, Sharing, Terms};
use bartizan_model::{
    Mode,
    document::{
        Document, Kind, Spec,
        cache::{AuthorizedAnswers, CachePolicySpec, IdentityClassName},
    },
    problem::{Code, Problem, Problems},
};

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    label,
    policy::{BEFORE_IDENTIFY, header_name},
};
use crate::snapshot::{Bite, CachePlan};

/// All policies of the kind.
pub(super) fn policies<'d>(index: &Index<'d>, problems: &mut Problems) -> Vec<Scoped<'d, CachePlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::CachePolicy) {
        let Some(spec) = spec_of!(document, CachePolicy) else { continue };
        scoped.push(Scoped {
            document,
            plan: Arc::new(compile(document, spec, problems)),
            bite: Bite { mode: spec.mode, ..Bite::FULL },
            allow_override: spec.allow_override,
            targets: targets(index, &spec.target_refs, BEFORE_IDENTIFY, problems),
        });
    }
    scoped
}

fn compile(document: &Document, spec: &CachePolicySpec, problems: &mut Problems) -> CachePlan {
    if spec.mode == Mode::Shadow {
        problems.push(
            Problem::new(Code::NoShadow, document.name.at, "spec.mode", "a CachePolicy has no shadow")
                .hint("it refuses nothing; use `enforce` or `off`"),
        );
    }
    if spec.identity_class == IdentityClassName::Shared && *spec.authorized == AuthorizedAnswers::Own {
        let message = "`own` cannot be combined with `identityClass: shared`";
        problems.push(
            Problem::new(Code::FieldsClash, spec.authorized.at, "spec.authorized", message)
                .hint("one caller would be given another's answer, which nothing says is meant for both"),
        );
    }
    let defaults = Terms::default();
    CachePlan {
        label: label(Kind::CachePolicy, document.name.as_str()),
        terms: Terms {
            sharing: match spec.identity_class {
                IdentityClassName::PerConsumer => Sharing::PerConsumer,
                IdentityClassName::Shared => Sharing::Shared,
            },
            authorized: match *spec.authorized {
                AuthorizedAnswers::Marked => Authorized::Marked,
                AuthorizedAnswers::Own => Authorized::Own,
            },
            targeted: spec.targeted,
            drop_set_cookie: spec.drop_set_cookie,
            any_status: spec.any_status,
            heuristic_percent: spec.heuristic_percent.get(),
            negative_s: spec.negative_lifetime.get().as_secs(),
            stale_while_revalidate_s: spec.stale_while_revalidate.get().as_secs(),
            stale_if_error_s: spec.stale_if_error.get().as_secs(),
            tag_fields: spec.tag_headers.iter().map(|name| header_name(name)).collect(),
            lifetime_max_s: spec.max_lifetime.get().as_secs(),
            heed_callers: spec.heed_callers,
            body_bytes_max: usize::try_from(spec.max_body_bytes.get()).unwrap_or(usize::MAX),
            ..defaults
        },
        collapse: spec.collapse.get(),
    }
}
