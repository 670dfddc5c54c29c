//! Documents that carry out what is suggested: ordinary ones, in shadow where that is possible, for `plan`.

use std::fmt::Write as _;

/// Text as a YAML string, whatever is in it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A limit for each caller, in shadow.
pub(crate) fn rate_limit(name: &str, route: Option<&str>, requests: u64, window: &str) -> String {
    let target = route.map_or_else(String::new, |route| {
        format!("  targetRefs: [{{ kind: Route, name: {} }}]\n", quoted(route))
    });
    format!(
        "apiVersion: management.v1\nkind: RateLimitPolicy\nmetadata: {{ name: {} }}\nspec:\n{target}  key: [consumer]\n  \
         limits: {{ requests: {requests}, timeWindow: {window} }}\n  action: {{ type: Throttle, maxRetry: 0 }}\n  mode: shadow\n",
        quoted(&name_of(name)),
    )
}

/// API keys for a route, in shadow.
pub(crate) fn authentication(name: &str, route: &str) -> String {
    format!(
        "apiVersion: management.v1\nkind: AuthenticationPolicy\nmetadata: {{ name: {} }}\nspec:\n  targetRefs: [{{ kind: Route, \
         name: {} }}]\n  methods: [{{ type: ApiKey }}]\n  mode: shadow\n",
        quoted(&name_of(name)),
        quoted(route),
    )
}

/// A role that permits these routes by these methods; none means every method.
pub(crate) fn role(name: &str, grants: &[(&str, Vec<&str>)]) -> String {
    let mut out = format!(
        "apiVersion: management.v1\nkind: Role\nmetadata: {{ name: {} }}\nspec:\n  grants:\n",
        quoted(name)
    );
    for (route, methods) in grants {
        let words: Vec<String> = methods.iter().map(|method| quoted(method)).collect();
        let by = if words.is_empty() { String::new() } else { format!(", methods: [{}]", words.join(", ")) };
        let _ = writeln!(out, "    - {{ routes: [{}]{by} }}", quoted(route));
    }
    out
}

/// A name that documents take: lower-case letters, digits and hyphens, at most 63.
pub(crate) fn name_of(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(63)
        .collect();
    while out.ends_with('-') {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_in_its_string() {
        assert_eq!(quoted("a\"\n- b: \\"), "\"a\\\"\\U0000000a- b: \\\\\"");
        assert_eq!(name_of("Orders / v2 "), "orders---v2");
    }
}
