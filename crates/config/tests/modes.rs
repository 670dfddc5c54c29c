//! Every policy kind in every way to bite: enforced, in shadow, for a share of callers. What a kind cannot be, `check`
//! refuses with the reason.

use bartizan_config::{Set, source::Sources};
use bartizan_model::{
    document::Kind,
    problem::{Code, Severity},
    shape::Shape,
};

/// A set that serves; policies are added to it.
const BASE: &str = r#"apiVersion: management.v1
kind: Listener
metadata: { name: web }
spec: { addresses: ["127.0.0.1:8080"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: up }
spec: { endpoints: [{ url: "http://127.0.0.1:1" }] }
---
apiVersion: management.v1
kind: Route
metadata: { name: orders }
spec: { rules: [{ matches: [{ path: { value: /orders } }], backendRefs: [{ name: up }] }] }
---
apiVersion: management.v1
kind: Role
metadata: { name: reader }
spec: { grants: [{ routes: [orders] }] }
---
apiVersion: management.v1
kind: NoticeChannel
metadata: { name: manager }
spec: { alertmanager: { url: "https://alerts.example.com" } }
"#;

/// The policy kinds, each with the least that it must say, and whether it may be in shadow and for a share of callers.
/// A kind that decides nothing about a request has neither, with the words of the reason.
const POLICIES: &[(Kind, &str, Result<(), &str>)] = &[
    (
        Kind::AlertPolicy,
        "channels: [manager], signals: [{ signal: Faults }]",
        Err("it decides nothing about a request"),
    ),
    (Kind::AuthenticationPolicy, "methods: [{ type: ApiKey }]", Ok(())),
    (Kind::AuthorizationPolicy, "rules: [{ roles: [reader] }]", Ok(())),
    (Kind::CachePolicy, "", Err("it refuses nothing")),
    (Kind::CorsPolicy, "allowOrigins: [\"https://shop.example\"]", Ok(())),
    (Kind::HeaderPolicy, "request: { forbid: [x-debug] }", Ok(())),
    (Kind::InspectionPolicy, "ruleSets: baseline", Ok(())),
    (Kind::KeyRotationPolicy, "maximumAge: 90d", Err("it decides about keys, not about a request")),
    (Kind::QuotaPolicy, "limits: { requests: 100, per: day }", Ok(())),
    (Kind::RateLimitPolicy, "limits: { requests: 100, timeWindow: 1m }", Ok(())),
    (Kind::RecordPolicy, "", Err("it decides nothing about a request")),
    (Kind::SchemaPolicy, "schema: { inline: '{}' }", Ok(())),
    (Kind::UpstreamPolicy, "", Err("what it does is seen by upstreams only")),
];

/// The problems of a set with this policy: code, message and hint.
fn problems(kind: Kind, least: &str, bite: &str) -> Vec<(Code, String, String)> {
    let fields: Vec<&str> = [least, bite].into_iter().filter(|part| !part.is_empty()).collect();
    let policy = format!(
        "{BASE}---\napiVersion: management.v1\nkind: {}\nmetadata: {{ name: tried }}\nspec: {{ {} }}\n",
        kind.as_str(),
        fields.join(", ")
    );
    let set = Set::from_sources(Sources::from_texts([("set.yaml", policy.as_str())]));
    let found: Vec<_> = set
        .compiled
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Problem)
        .map(|one| (one.code, one.message.clone(), one.hint.clone().unwrap_or_default()))
        .collect();
    assert_eq!(set.compiled.snapshot.is_some(), found.is_empty(), "{kind:?} {bite}");
    found
}

#[test]
fn every_policy_kind_is_enforced_shadowed_and_shared_or_says_why_not() {
    for (kind, least, shadow) in POLICIES {
        for enforced in ["", "mode: enforce", "mode: off"] {
            assert_eq!(problems(*kind, least, enforced), [], "{kind:?} {enforced}");
        }
        let (shadowed, shared) =
            (problems(*kind, least, "mode: shadow"), problems(*kind, least, "enforcePercent: 50"));
        match shadow {
            Ok(()) => {
                assert_eq!(shadowed, [], "{kind:?} in shadow");
                assert_eq!(shared, [], "{kind:?} for half of the callers");
                assert_eq!(problems(*kind, least, "mode: shadow, onFault: allow"), [], "{kind:?}");
                assert_ne!(problems(*kind, least, "enforcePercent: 101"), [], "{kind:?} for more than all");
            }
            Err(reason) => {
                let [(code, message, hint)] = shadowed.as_slice() else { panic!("{kind:?}: {shadowed:?}") };
                assert_eq!(*code, Code::NoShadow, "{kind:?}");
                assert!(message.contains("has no shadow") && hint.contains(reason), "{message}: {hint}");
                assert!(matches!(shared.as_slice(), [(_, message, _)] if message.contains("enforcePercent")));
            }
        }
    }
}

#[test]
fn the_table_has_every_kind_that_can_be_told_how_to_bite() {
    for kind in Kind::ALL {
        let Shape::Object(spec) = kind.spec_shape() else { panic!("{kind:?} is no mapping") };
        let bites = spec.fields.iter().any(|field| field.name == "mode");
        assert_eq!(bites, POLICIES.iter().any(|(one, ..)| one == kind), "{kind:?}");
    }
}
