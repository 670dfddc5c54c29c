//! Calls that have a better place, each with it.
//!
//! Only what can be told from the text and is true today stands here; what a type or a lint can refuse belongs there.

use super::{Finding, Report, source};
use crate::Result;

/// One banned call.
struct Ban {
    /// The text, as rustfmt writes it.
    call: &'static str,
    /// Where it is at home: paths below the root.
    home: &'static [&'static str],
    /// What to write instead.
    remedy: &'static str,
}

/// The parts of the repository that no request passes through.
const BESIDE: [&str; 3] = ["crates/testkit/", "tests/", "xtask/"];

const BANS: [Ban; 17] = [
    Ban {
        call: "env::var",
        home: &["crates/bartizan/"],
        remedy: "pass the value as an argument: only the binary reads the environment",
    },
    Ban {
        call: ".uri().path()",
        home: &["crates/message/", "crates/manage/", "crates/bartizan/src/sample/"],
        remedy: "take the CanonicalPath of `message`: one path for every judge and for the upstream",
    },
    Ban {
        call: "Instant::now()",
        home: &[
            "crates/fetch/",
            "crates/proxy/",
            "crates/manage/",
            "crates/store/",
            "crates/telemetry/src/writer",
            "crates/bartizan/",
        ],
        remedy: "take the time as an argument: a judge reads no clock",
    },
    Ban {
        call: "SystemTime::now()",
        home: &[
            "crates/fetch/",
            "crates/proxy/",
            "crates/manage/",
            "crates/store/",
            "crates/telemetry/src/writer",
            "crates/bartizan/",
        ],
        remedy: "take the time as an argument: a judge reads no clock",
    },
    Ban {
        call: "unbounded_channel",
        // Commands of our own process, one per reload: nobody outside can fill it.
        home: &["crates/proxy/src/listener/core.rs"],
        remedy: "use a bounded channel and count what does not fit: everything has a limit",
    },
    Ban { call: "process::exit(", home: &[], remedy: "return an ExitCode from main: destructors must run" },
    Ban { call: "thread::sleep(", home: &[], remedy: "wait for what you wait for, with a deadline" },
    Ban {
        call: "#[allow(",
        // What a macro writes is needed in some of its uses only.
        home: &["crates/model/src/macros.rs"],
        remedy: "write `#[expect(…, reason = \"…\")]`: it tells when it is not needed",
    },
    Ban {
        call: "rehearsed_api_key(",
        home: &["crates/identity/src/claim.rs", "crates/proxy/src/stage/identify/rehearsed.rs"],
        remedy: "identify by a credential: only a rehearsal takes an identity for given",
    },
    Ban {
        call: "rehearsed_user(",
        home: &["crates/identity/src/basic.rs", "crates/proxy/src/stage/identify/rehearsed.rs"],
        remedy: "identify by a credential: only a rehearsal takes an identity for given",
    },
    Ban {
        call: "rehearsed_token(",
        home: &["crates/identity/src/jwt/rehearsed.rs", "crates/proxy/src/stage/identify/rehearsed.rs"],
        remedy: "identify by a credential: only a rehearsal takes an identity for given",
    },
    Ban {
        call: "rehearsed_answer(",
        home: &["crates/identity/src/jwt/rehearsed.rs", "crates/proxy/src/stage/identify/rehearsed.rs"],
        remedy: "identify by a credential: only a rehearsal takes an identity for given",
    },
    Ban {
        call: "rehearsed_session(",
        home: &["crates/identity/src/jwt/rehearsed.rs", "crates/proxy/src/stage/identify/rehearsed.rs"],
        remedy: "identify by a credential: only a rehearsal takes an identity for given",
    },
    Ban {
        call: "rehearsed_certificate(",
        home: &["crates/identity/src/certificate.rs", "crates/config/src/policy_test/who.rs"],
        remedy: "read a certificate that TLS verified: only a test of documents makes one up",
    },
    Ban { call: "todo!(", home: &[], remedy: "finish it, or leave it out" },
    Ban { call: "unimplemented!(", home: &[], remedy: "finish it, or leave it out" },
    Ban {
        call: "mem::forget(",
        home: &[],
        remedy: "hand the value over: what `Drop` settles must be settled",
    },
];

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    for source in source::production("crates")? {
        if BESIDE.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for ban in &BANS {
            if ban.home.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            for (line, _) in source.lines.iter().filter(|(_, text)| calls(text, ban.call)) {
                let what = format!("`{}` does not belong here", ban.call);
                report.findings.push(Finding::new(&source.path, *line, what, ban.remedy));
            }
        }
    }
    Ok(report)
}

/// Whether the call stands in the line as a word of its own.
fn calls(line: &str, call: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(call).any(|(at, _)| {
        let begins_word = call.starts_with(word);
        !(begins_word && line.get(..at).is_some_and(|before| before.ends_with(word)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_as_a_word() {
        let cases = [
            ("let x = std::env::var(\"A\");", "env::var", true),
            ("let x = env::var_os(\"A\");", "env::var", true),
            ("let x = my_env::var(\"A\");", "env::var", false),
            ("request.uri().path()", ".uri().path()", true),
            ("let t = Instant::now();", "Instant::now()", true),
            ("let t = self.now();", "Instant::now()", false),
        ];
        for (line, call, expected) in cases {
            assert_eq!(calls(line, call), expected, "{line}");
        }
    }
}
