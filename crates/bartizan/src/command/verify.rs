//! `bartizan verify`: are these signatures right? Hidden: a probe of our own verification with vectors of others.
//!
//! Reads one JSON object per line, `{"id", "kind": "jws", "jwk", "token"}`, where `jwk` is one key or a set, and
//! answers each with `{"id", "ok"}` on a line of its own, at once. Only signature and keys are judged: no issuer, no
//! time. A line that cannot be read is answered with `false`, said on standard error, and makes the exit code 1.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read, Write},
    process::ExitCode,
};

use bartizan_identity::{
    jwk::{KeySet, Origin},
    jwt::Jws,
};
use serde_json::value::RawValue;

use super::print::{self, FOUND, Outcome};

/// What `verify` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Answers the lines of standard input.
pub(crate) fn run(_args: &Args) -> ExitCode {
    print::exit(answer(io::stdin().lock(), &mut io::stdout().lock()))
}

fn answer(mut lines: impl BufRead, out: &mut impl Write) -> Outcome {
    let mut code = ExitCode::SUCCESS;
    for number in 1u64.. {
        let mut line = Vec::new();
        if lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let parts: Parts<'_> = serde_json::from_slice(&line).unwrap_or_default();
        let id = parts.get("id").map_or("null", |id| id.get());
        let ok = Case::read(&parts).map(|case| case.is_right()).unwrap_or_else(|why| {
            print::note(&format!("line {number}: {why}"));
            code = ExitCode::from(FOUND);
            false
        });
        writeln!(out, "{{\"id\":{id},\"ok\":{ok}}}")?;
        out.flush()?;
    }
    Ok(code)
}

/// The members of one line. They stay as they were written, since reading them strictly is what is tested.
type Parts<'a> = BTreeMap<String, &'a RawValue>;

/// What one line asks.
struct Case<'a> {
    jwk: &'a str,
    token: &'a str,
}

impl<'a> Case<'a> {
    fn read(parts: &Parts<'a>) -> Result<Self, &'static str> {
        let part = |name| parts.get(name).map(|part| part.get());
        if parts.is_empty() {
            return Err("not a JSON object");
        }
        if part("kind") != Some("\"jws\"") {
            return Err("the kind is not `jws`");
        }
        part("id").ok_or("`id` is missing")?;
        Ok(Case {
            jwk: part("jwk").ok_or("`jwk` is missing")?,
            token: part("token").ok_or("`token` is missing")?,
        })
    }

    /// Whether a key of the set signed the token. The JSON serialization is no string, and never right.
    fn is_right(&self) -> bool {
        let Ok(keys) = KeySet::parse(self.jwk.as_bytes(), Origin::Given) else {
            return false;
        };
        let Ok(token) = serde_json::from_str::<String>(self.token) else {
            return false;
        };
        Jws::parse(token.as_bytes()).is_ok_and(|jws| jws.verify(&keys).is_ok())
    }
}

/// A mebibyte: a key set and a token have room many times over; what is longer is answered in pieces, each `false`.
const LINE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(text: &str) -> (String, String) {
        let mut out = Vec::new();
        let code = answer(text.as_bytes(), &mut out).unwrap();
        (String::from_utf8(out).unwrap(), format!("{code:?}"))
    }

    #[test]
    fn every_line_is_answered_with_its_id() {
        // RFC 8037 appendix A.
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6d\
                     WbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let (text, code) = answers(&format!(
            "{{\"id\":1,\"kind\":\"jws\",\"jwk\":{jwk},\"token\":\"{token}\"}}\n\
             {{\"id\":\"b\",\"kind\":\"jws\",\"jwk\":{{\"keys\":[{jwk}]}},\"token\":\"{token}\"}}\n\n\
             {{\"id\":\"c\",\"kind\":\"jws\",\"jwk\":{jwk},\"token\":\"{token}A\"}}\n\
             {{\"id\":\"d\",\"kind\":\"jws\",\"jwk\":{jwk},\"token\":{{\"payload\":\"\"}}}}\n\
             {{\"id\":\"e\",\"kind\":\"jws\",\"jwk\":[],\"token\":\"{token}\"}}"
        ));
        let expected = "{\"id\":1,\"ok\":true}\n{\"id\":\"b\",\"ok\":true}\n{\"id\":\"c\",\"ok\":false}\n\
                        {\"id\":\"d\",\"ok\":false}\n{\"id\":\"e\",\"ok\":false}\n";
        assert_eq!(text, expected);
        assert_eq!(code, format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_answered_with_no() {
        for (line, id) in [
            ("x", "null"),
            ("[]", "null"),
            ("{}", "null"),
            (r#"{"id":1,"kind":"jwe","jwk":{},"token":""}"#, "1"),
            (r#"{"id":1,"jwk":{},"token":""}"#, "1"),
            (r#"{"id":"a","kind":"jws","jwk":{}}"#, "\"a\""),
            (r#"{"kind":"jws","jwk":{},"token":""}"#, "null"),
        ] {
            let (text, code) = answers(line);
            assert_eq!(text, format!("{{\"id\":{id},\"ok\":false}}\n"), "{line}");
            assert_eq!(code, format!("{:?}", ExitCode::from(FOUND)), "{line}");
        }
    }
}
