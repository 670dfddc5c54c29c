//! Access logs of ours: one JSON object per line, with the facts of the verified identity and the decision.

use std::collections::BTreeMap;

use bartizan_config::{
    rehearsal::{GivenBody, GivenRefusal},
    replay::{Caller, Lacks, Recorded, Recording},
};
use bartizan_identity::{InvalidKind, KeyId, Method as Means};
use bartizan_message::Scheme;
use bartizan_model::{Reason, Stage};
use bartizan_telemetry::redact::MASK;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc};

use super::{Assumed, Heard, clock, place};

/// What of a line is judged by.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    event: Option<String>,
    lost: u64,
    time: String,
    id: Option<String>,
    listener: Option<String>,
    client: Option<String>,
    tls: Option<String>,
    consumer: Option<String>,
    identified_by: Option<String>,
    credential: Option<String>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    query: Option<String>,
    user_agent: Option<String>,
    headers: BTreeMap<String, String>,
    route: Option<String>,
    upstream: Option<String>,
    exit: String,
    request_bytes: u64,
    stage: Option<String>,
    reason: Option<String>,
    policy: Option<String>,
    detail: Option<String>,
}

/// What a text that was cut ends with.
const CUT: char = '…';

/// Reads a line.
pub(super) fn read(line: &[u8], number: u64, assumed: &Assumed) -> Option<Heard> {
    let malformed = |why: String| Heard::Malformed(place(number), why);
    Some(match serde_json::from_slice::<Line>(line) {
        Err(error) => malformed(error.to_string()),
        Ok(line) if line.event.is_some() => Heard::Lost(line.lost),
        Ok(line) => match line.recording(number, assumed) {
            Ok(asked) => Heard::Request(Box::new(asked)),
            Err(why) => malformed(why.to_owned()),
        },
    })
}

impl Line {
    fn recording(self, number: u64, assumed: &Assumed) -> Result<Recording, &'static str> {
        let method = self.method.as_deref().ok_or("no method")?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| "the method is not a word")?;
        let unix_nanos = clock::rfc3339(&self.time).ok_or("the time cannot be read")?;
        let stage = self.stage.as_deref().and_then(stage_of);
        let client = self.client.as_deref().and_then(whole_address).or(assumed.client);
        let is_shown = |text: &str| !text.ends_with(CUT) && !text.contains('\u{fffd}');
        let query = self.query.as_deref();
        let lacks = Lacks {
            headers: true,
            query: query.is_some_and(|query| query.contains(MASK) || !is_shown(query)),
            client: client.is_none(),
            path: self.path.as_deref().is_some_and(|path| !is_shown(path)),
            head: self.path.is_none() || self.host.is_none() || self.is_head_refused(stage),
        };
        let caller = self.caller(stage, assumed);
        let mut headers = self.shown_headers();
        let body = self.body(&method, &mut headers);
        let mut target = self.path.clone().unwrap_or_default();
        // A masked query decides nothing: it is not made up.
        if let Some(query) = query.filter(|_| !lacks.query) {
            target.push('?');
            target.push_str(query);
        }
        let recorded = self.recorded(stage);
        Ok(Recording {
            taken: None,
            id: self.id.unwrap_or_else(|| place(number)).into(),
            unix_nanos,
            scheme: Some(if self.tls.is_some() { Scheme::Https } else { Scheme::Http }),
            listener: self.listener.map(Into::into),
            client,
            method,
            host: self.host.unwrap_or_default().into(),
            target: target.into(),
            headers,
            body,
            caller,
            lacks,
            recorded,
        })
    }

    /// Refused for how it was sent, which the log does not show.
    fn is_head_refused(&self, stage: Option<Stage>) -> bool {
        let by_address = [Reason::AddressDenied, Reason::AddressLimited].map(Reason::as_str);
        stage == Some(Stage::Admit)
            && self.reason.as_deref().is_some_and(|reason| !by_address.contains(&reason))
    }

    fn caller(&self, stage: Option<Stage>, assumed: &Assumed) -> Caller {
        match self.identified_by.as_deref() {
            Some("api_key") => {
                let key = self.credential.as_deref().and_then(KeyId::parse);
                let consumer = self.consumer.as_deref().map(Into::into);
                match (key, consumer) {
                    (Some(key), Some(consumer)) => Caller::Key { key, consumer: Some(consumer), flaw: None },
                    (_, consumer) => Caller::Other(consumer),
                }
            }
            Some(_) => Caller::Other(self.consumer.as_deref().map(Into::into)),
            None if self.reason.as_deref() == Some(Reason::CredentialMissing.as_str()) => Caller::Missing,
            None if stage == Some(Stage::Identify) => {
                self.refused_key().or_else(|| self.refused_other()).unwrap_or(Caller::Unknown)
            }
            // That nobody was identified does not say that nothing was sent: perhaps nothing looked at it.
            None => assumed.unknown.clone(),
        }
    }

    /// The key that was refused, and why, which only the evidence tells: `key ID: WORD`.
    fn refused_key(&self) -> Option<Caller> {
        const KINDS: [InvalidKind; 6] = [
            InvalidKind::Expired,
            InvalidKind::Malformed,
            InvalidKind::NotYetValid,
            InvalidKind::Revoked,
            InvalidKind::Unknown,
            InvalidKind::WrongSecret,
        ];
        let detail = self.detail.as_deref()?;
        if detail == InvalidKind::Malformed.as_str() {
            return Caller::with_malformed_key();
        }
        let (id, word) = detail.strip_prefix("key ")?.split_once(": ")?;
        let flaw = KINDS.into_iter().find(|kind| kind.as_str() == word)?;
        Some(Caller::Key { key: KeyId::parse(id)?, consumer: None, flaw: Some(flaw) })
    }

    /// A token or a password that was refused, by the words that the evidence begins with.
    fn refused_other(&self) -> Option<Caller> {
        let detail = self.detail.as_deref()?;
        let means = match () {
            () if detail.starts_with("token: ") || detail.starts_with("token of ") => Means::Jwt,
            () if detail == "unknown user or wrong password" => Means::Basic,
            () => return None,
        };
        let reason = [Reason::CredentialInvalid, Reason::CredentialExpired]
            .into_iter()
            .find(|reason| Some(reason.as_str()) == self.reason.as_deref())?;
        Some(Caller::Refused(Arc::new(GivenRefusal { means, reason, detail: detail.into() })))
    }

    fn shown_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let agent = self.user_agent.iter().map(|value| ("user-agent", value));
        let others = self.headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in agent.chain(others).filter(|(_, value)| *value != MASK) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
                && name != header::HOST
                && name != header::TRANSFER_ENCODING
                && name != header::CONTENT_LENGTH
            {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// That there was a body is known by its bytes; of a refused request they may not have been read.
    fn body(&self, method: &Method, headers: &mut HeaderMap) -> GivenBody {
        if self.request_bytes > 0 {
            headers.insert(header::CONTENT_LENGTH, self.request_bytes.into());
            return GivenBody::Withheld;
        }
        let may_have = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        if may_have && self.reason.is_some() { GivenBody::Withheld } else { GivenBody::Absent }
    }

    fn recorded(&self, stage: Option<Stage>) -> Option<Recorded> {
        let route = self.route.as_deref().map(Into::into);
        let upstream = self.upstream.as_deref().map(Into::into);
        match &self.reason {
            // What is decided after an upstream was chosen is not rehearsed.
            Some(_) if matches!(stage, Some(Stage::Forward | Stage::Screen | Stage::Record)) => {
                Some(Recorded::Passed { route, upstream, answered: Some(false) })
            }
            Some(reason) => Some(Recorded::Refused {
                stage,
                reason: reason.as_str().into(),
                policy: self.policy.as_deref().map(Into::into),
                route,
            }),
            None if upstream.is_some() => Some(Recorded::Passed { route, upstream, answered: Some(false) }),
            None if self.exit == "complete" => {
                Some(Recorded::Passed { route, upstream, answered: Some(true) })
            }
            // It broke off before anything was decided.
            None => None,
        }
    }
}

fn stage_of(word: &str) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| stage.as_str() == word)
}

/// An address that was not shortened. One that ends in zeros may have been, and is not taken for whole.
fn whole_address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let is_short = match address {
        IpAddr::V4(address) => address.octets()[3] == 0,
        IpAddr::V6(address) => address.to_bits() << 48 == 0,
    };
    (!is_short).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Recording {
        let assumed = Assumed { host: None, scheme: Scheme::Https, client: None, unknown: Caller::Unknown };
        match read(line.as_bytes(), 1, &assumed) {
            Some(Heard::Request(asked)) => *asked,
            Some(Heard::Malformed(place, why)) => panic!("{place}: {why}"),
            Some(Heard::Lost(_)) | None => panic!("no request"),
        }
    }

    fn line(more: &str) -> String {
        format!(
            r#"{{"time":"2027-01-15T08:00:00.000001Z","id":"a","client":"192.0.2.7","method":"GET","host":"a.example","path":"/a","exit":"complete"{more}}}"#
        )
    }

    #[test]
    fn what_the_log_knows_of_a_caller_stands_for_the_credential() {
        let key = KeyId::parse("abcdefghijkl").unwrap();
        let shop = || Some("shop".into());
        for (more, expected) in [
            ("", Caller::Unknown),
            (r#","stage":"identify","reason":"CredentialMissing""#, Caller::Missing),
            (
                r#","consumer":"shop","identified_by":"api_key","credential":"abcdefghijkl""#,
                Caller::Key { key, consumer: shop(), flaw: None },
            ),
            (r#","consumer":"shop","identified_by":"jwt","credential":"0a1b""#, Caller::Other(shop())),
            (
                r#","stage":"identify","reason":"CredentialInvalid","detail":"key abcdefghijkl: revoked""#,
                Caller::Key { key, consumer: None, flaw: Some(InvalidKind::Revoked) },
            ),
            (r#","stage":"identify","reason":"CredentialInvalid","detail":"a token""#, Caller::Unknown),
        ] {
            assert_eq!(asked(&line(more)).caller, expected, "{more}");
        }
    }

    #[test]
    fn what_is_masked_or_cut_is_told_to_be_missing() {
        let lacks = |more: &str| asked(&line(more)).lacks;
        assert_eq!(lacks(""), Lacks { headers: true, ..Lacks::default() });
        assert!(lacks(r#","query":"page=***""#).query);
        assert!(!lacks(r#","query":"page=1""#).query);
        assert_eq!(&*asked(&line(r#","query":"page=1""#)).target, "/a?page=1");
        let of = |client: &str, path: &str| {
            asked(&format!(
                r#"{{"time":"2027-01-15T08:00:00Z","client":"{client}","method":"GET","host":"a","path":"{path}"}}"#
            ))
            .lacks
        };
        assert!(of("192.0.2.0", "/a").client && of("2001:db8:1::", "/a").client && of("h:ab", "/a").client);
        assert!(!of("2001:db8:1::1", "/a").client);
        assert!(of("192.0.2.1", "/a…").path);
    }

    #[test]
    fn what_broke_off_has_no_outcome_and_what_broke_behind_the_gateway_passed() {
        let recorded = |more: &str| asked(&line(more)).recorded;
        assert!(matches!(
            recorded(r#","stage":"forward","reason":"NoEndpoint","upstream":"a""#),
            Some(Recorded::Passed { .. })
        ));
        assert!(matches!(recorded(""), Some(Recorded::Passed { answered: Some(true), .. })));
        let gone = line("").replace("complete", "client_gone");
        assert_eq!(asked(&gone).recorded, None);
    }
}
