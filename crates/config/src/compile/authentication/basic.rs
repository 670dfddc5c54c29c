//! `type: Basic`.

use std::sync::Arc;

use bartizan_model::{
    document::{Document, authentication::AuthenticationMethod},
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
};
use http::HeaderValue;

use super::super::{credential::one_secret, index::Index};
use crate::snapshot::BasicPlan;

/// One method.
pub(super) fn compile(
    index: &Index<'_>,
    document: &Document,
    method: &Spanned<AuthenticationMethod>,
    problems: &mut Problems,
) -> Option<Arc<BasicPlan>> {
    const PATH: &str = "spec.methods.basic";
    let Some(source) = &method.basic else {
        let message = "`type: Basic` needs the field `basic` with the users";
        problems.push(Problem::new(Code::MissingField, method.at, PATH, message));
        return None;
    };
    let secret = (&source.users_ref, &source.secret_name);
    let users = one_secret(index, document, secret, (source.at, "usersRef", PATH), problems)?;
    // RFC 9110 §5.6.4: what a quoted string holds without escapes.
    let sound = |byte: u8| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\');
    let realm = &source.realm;
    match HeaderValue::try_from(format!("Basic realm=\"{}\", charset=\"UTF-8\"", **realm)) {
        Ok(challenge) if !realm.is_empty() && realm.bytes().all(sound) => {
            Some(Arc::new(BasicPlan { users, challenge }))
        }
        _ => {
            let message = format!("{} cannot be a realm", shown(realm));
            problems.push(
                Problem::new(Code::BadText, realm.at, format!("{PATH}.realm"), message)
                    .hint("letters, digits, blanks and signs of ASCII without quotes and backslashes"),
            );
            None
        }
    }
}
