//! What the gateway is given when it is measured: the one place that knows its documents and arguments.

use super::peers::Target;
use crate::{
    Result,
    shell::{self, output, program},
};

/// Routes of the set with all policies; the measured one is among them.
const ROUTES: usize = 1_000;

/// The documents of a target, as `(file, text)`, with the placeholders of `bench/README.md`.
pub(super) fn set(target: Target) -> Result<Vec<(String, String)>> {
    let own = |name: &str| shell::read(format!("bench/{name}")).map(|text| (name.to_owned(), text));
    match target {
        Target::BartizanPolicies => {
            Ok(vec![own("bartizan-policies.yaml")?, ("routes.yaml".to_owned(), more_routes())])
        }
        _ => Ok(vec![own("bartizan-bare.yaml")?]),
    }
}

/// Routes as a team of a thousand services would have them: several hosts, prefixes, templates and exact paths.
fn more_routes() -> String {
    let route = |number: usize| {
        let (kind, path) = match number % 4 {
            0 => ("Exact", format!("/service-{number}/status")),
            1 => ("Template", format!("/service-{number}/items/{{id}}")),
            _ => ("PathPrefix", format!("/service-{number}")),
        };
        let host = match number % 3 {
            0 => format!("  hostnames: [team-{}.example.com]\n", number % 50),
            _ => String::new(),
        };
        format!(
            "apiVersion: management.v1\nkind: Route\nmetadata: {{ name: service-{number} }}\nspec:\n{host}  rules:\n    \
             - matches: [{{ path: {{ type: {kind}, value: \"{path}\" }}, methods: [GET, POST] }}]\n      \
             backendRefs: [{{ name: origin }}]\n"
        )
    };
    (1..ROUTES).map(route).collect::<Vec<_>>().join("---\n")
}

/// The arguments of `bartizan run`.
pub(super) fn run_arguments(config: &str, data: &str, admin: u16) -> Vec<String> {
    let admin = format!("127.0.0.1:{admin}");
    ["run", "--config", config, "--data-dir", data, "--workers", "1", "--admin", &admin]
        .map(str::to_owned)
        .to_vec()
}

/// Mints the key that the load generator sends. It is printed once and nowhere kept.
pub(super) fn mint_key(binary: &str, data: &str) -> Result<String> {
    let printed =
        output(program(binary).args(["keys", "create", "--consumer", "bench", "--data-dir", data]))?;
    let is_key = |word: &&str| word.starts_with("bzk_") && word.len() > 40;
    let words = printed.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.into_iter().find(is_key).map(str::to_owned).ok_or_else(|| "`keys create` printed no key".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_with_policies_has_a_thousand_routes_of_different_names() {
        let set = set(Target::BartizanPolicies).unwrap();
        let routes: usize = set.iter().map(|(_, text)| text.matches("kind: Route\n").count()).sum();
        assert_eq!(routes, ROUTES);
        let text = more_routes();
        let names: std::collections::BTreeSet<&str> =
            text.lines().filter(|line| line.contains("name: service-")).collect();
        assert_eq!(names.len(), ROUTES - 1);
    }
}
