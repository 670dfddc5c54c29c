//! `NoticeChannel` → [`ChannelPlan`], `AlertPolicy` → [`AlertPlan`], and who names channels.

use std::{collections::BTreeMap, sync::Arc};

use bartizan_model::{
    Mode, Reason, Reference,
    document::{
        Document, Kind, Spec,
        alert_policy::{AlertGroup, AlertPolicySpec, AlertRule, AlertSignal},
        notice_channel::{EmailChannel, MailTls, NoticeChannelSpec},
    },
    problem::{Code, Problem, Problems, shown},
    read::Spanned,
    scalar::{FetchUrl, Name},
};

use super::{
    credential::one_secret,
    index::{Index, spec_of},
    positive,
};
use crate::snapshot::{AlertPlan, AlertRulePlan, ChannelPlan, ChannelReach, ChannelWay, EmailPlan};

/// Compiles all channels, by name.
pub(super) fn channels(index: &Index<'_>, problems: &mut Problems) -> BTreeMap<Arc<str>, Arc<ChannelPlan>> {
    let mut plans = BTreeMap::new();
    for document in index.of(Kind::NoticeChannel) {
        let Some(spec) = spec_of!(document, NoticeChannel) else { continue };
        let timeout = positive(&spec.timeout, "spec.timeout", problems);
        let give_up_after = positive(&spec.give_up_after, "spec.giveUpAfter", problems);
        let Some(way) = way(index, document, spec, problems) else { continue };
        let name: Arc<str> = document.name.as_str().into();
        plans.insert(name.clone(), Arc::new(ChannelPlan { name, way, timeout, give_up_after }));
    }
    plans
}

fn way(
    index: &Index<'_>,
    document: &Document,
    spec: &NoticeChannelSpec,
    problems: &mut Problems,
) -> Option<ChannelWay> {
    let written =
        [spec.email.is_some(), spec.webhook.is_some(), spec.slack.is_some(), spec.alertmanager.is_some()];
    if written.into_iter().filter(|is_written| *is_written).count() != 1 {
        let message = "a channel is exactly one of `email`, `webhook`, `slack` and `alertmanager`";
        problems.push(Problem::new(Code::NotExactlyOne, document.name.at, "spec", message));
        return None;
    }
    if let Some(mail) = &spec.email {
        return email(index, document, mail, problems);
    }
    let locate =
        |reference: &Option<Reference>| reference.as_ref().map(|reference| index.locate(document, reference));
    let reach = |private_network, clear_text, authorities: &Option<Reference>| ChannelReach {
        private_network,
        clear_text,
        authorities: locate(authorities),
    };
    if let Some(hook) = &spec.webhook {
        let reach = reach(hook.allow_private_network, hook.danger_allow_clear_text, &hook.authorities_ref);
        check_url(&hook.url, &reach, "spec.webhook.url", problems);
        let written = (&hook.signing_secret_ref, &hook.secret_name);
        let place = (hook.at, "signingSecretRef", "spec.webhook");
        let mut secrets = vec![one_secret(index, document, written, place, problems)?];
        secrets.extend(locate(&hook.previous_secret_ref));
        return Some(ChannelWay::Webhook { url: FetchUrl::clone(&hook.url), secrets, reach });
    }
    if let Some(slack) = &spec.slack {
        let reach = reach(slack.allow_private_network, slack.danger_allow_clear_text, &slack.authorities_ref);
        let written = (&slack.url_ref, &slack.secret_name);
        let url = one_secret(index, document, written, (slack.at, "urlRef", "spec.slack"), problems)?;
        return Some(ChannelWay::Slack { url, reach });
    }
    let manager = spec.alertmanager.as_ref()?;
    let reach =
        reach(manager.allow_private_network, manager.danger_allow_clear_text, &manager.authorities_ref);
    check_url(&manager.url, &reach, "spec.alertmanager.url", problems);
    Some(ChannelWay::Alertmanager {
        url: FetchUrl::clone(&manager.url),
        token: locate(&manager.token_ref),
        reach,
    })
}

fn check_url(url: &Spanned<FetchUrl>, reach: &ChannelReach, path: &str, problems: &mut Problems) {
    if !url.is_https() && !reach.clear_text {
        problems.push(
            Problem::new(Code::BadUrl, url.at, path, "notices are sent over TLS")
                .hint("write `https://`; for tests on this machine there is `dangerAllowClearText`"),
        );
    }
}

fn email(
    index: &Index<'_>,
    document: &Document,
    mail: &Spanned<EmailChannel>,
    problems: &mut Problems,
) -> Option<ChannelWay> {
    let path = "spec.email";
    let host = mail.host.to_string();
    if mail.host.suffix().is_some() {
        let message = "a mail server has one name";
        problems.push(Problem::new(Code::BadText, mail.host.at, format!("{path}.host"), message));
    }
    let host: Arc<str> = host.trim_matches(['[', ']']).into();
    let is_loopback =
        &*host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if *mail.tls == MailTls::None && !is_loopback && !mail.danger_allow_clear_text {
        problems.push(
            Problem::new(
                Code::FieldsClash,
                mail.tls.at,
                format!("{path}.tls"),
                "mail in clear text leaves this machine",
            )
            .hint("use `StartTls` or `Implicit`; for a relay in a private network there is `dangerAllowClearText`"),
        );
    }
    for (address, field) in mail.to.iter().map(|address| (address, "to")).chain([(&mail.from, "from")]) {
        check_address(address, &format!("{path}.{field}"), problems);
    }
    let login = match &mail.user {
        Some(user) => {
            let written = (&mail.password_ref, &mail.secret_name);
            let place = (mail.at, "passwordRef", path);
            let password = one_secret(index, document, written, place, problems)?;
            Some((user.as_str().into(), password))
        }
        None if mail.password_ref.is_some() || mail.secret_name.is_some() => {
            let message = "a password needs a `user`";
            problems.push(Problem::new(Code::FieldsClash, mail.at, path, message));
            None
        }
        None => None,
    };
    let port = mail.port.unwrap_or(match *mail.tls {
        MailTls::StartTls => 587,
        MailTls::Implicit => 465,
        MailTls::None => 25,
    });
    Some(ChannelWay::Email(Box::new(EmailPlan {
        host,
        port,
        tls: *mail.tls,
        from: mail.from.as_str().into(),
        to: mail.to.iter().map(|address| address.as_str().into()).collect(),
        login,
        reach: ChannelReach {
            private_network: mail.allow_private_network || is_loopback,
            clear_text: *mail.tls == MailTls::None,
            authorities: mail.authorities_ref.as_ref().map(|one| index.locate(document, one)),
        },
    })))
}

/// Strict enough that nothing can be put into a mail's head or the talk with its server (RFC 5321 §4.1.2, dot-string).
pub(super) fn check_address(address: &Spanned<String>, path: &str, problems: &mut Problems) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let is_sound = address.rsplit_once('@').is_some_and(|(local, domain)| {
        (1..=64).contains(&local.len())
            && (1..=253).contains(&domain.len())
            && local.bytes().all(plain)
            && domain.bytes().all(host)
            && !local.starts_with('.')
    });
    if !is_sound {
        let message = format!("{} is no e-mail address", shown(address));
        problems.push(
            Problem::new(Code::BadText, address.at, path, message)
                .hint("write the address alone, for example `ann@example.com`"),
        );
    }
}

/// The names of channels, each of which must exist.
pub(super) fn named(
    index: &Index<'_>,
    names: &[Spanned<Name>],
    path: &str,
    problems: &mut Problems,
) -> Vec<Arc<str>> {
    let found = |name: &&Spanned<Name>| index.find(Kind::NoticeChannel, name, path, problems).is_some();
    names.iter().filter(found).map(|name| name.as_str().into()).collect()
}

/// Compiles all alert policies that are used, in order of name.
pub(super) fn alerts(index: &Index<'_>, problems: &mut Problems) -> Vec<Arc<AlertPlan>> {
    let mut plans = Vec::new();
    for document in index.of(Kind::AlertPolicy) {
        let Some(spec) = spec_of!(document, AlertPolicy) else { continue };
        let plan = alert(index, document, spec, problems);
        if spec.mode == Mode::Enforce {
            plans.push(Arc::new(plan));
        }
    }
    plans
}

fn alert(
    index: &Index<'_>,
    document: &Document,
    spec: &AlertPolicySpec,
    problems: &mut Problems,
) -> AlertPlan {
    if spec.mode == Mode::Shadow {
        problems.push(
            Problem::new(Code::NoShadow, document.name.at, "spec.mode", "an AlertPolicy has no shadow")
                .hint("it decides nothing about a request; use `enforce` or `off`"),
        );
    }
    if spec.signals.is_empty() {
        let message = "nothing is watched";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.signals", message));
    }
    if spec.channels.is_empty() {
        let message = "nobody is told";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.channels", message));
    }
    let recover_after = positive(&spec.recover_after, "spec.recoverAfter", problems);
    if recover_after < STANDING_RECOVERY_MIN && spec.signals.iter().any(|rule| is_standing(rule.signal)) {
        let message =
            "what is so is looked at every few seconds: an alert would end and begin again meanwhile";
        problems.push(
            Problem::new(Code::BadValue, spec.recover_after.at, "spec.recoverAfter", message)
                .hint("write at least `10s`"),
        );
    }
    AlertPlan {
        name: document.name.as_str().into(),
        rules: spec.signals.iter().map(|one| rule(one, problems)).collect(),
        channels: named(index, &spec.channels, "spec.channels", problems),
        repeat_after: positive(&spec.repeat_after, "spec.repeatAfter", problems),
        recover_after,
    }
}

fn rule(spec: &Spanned<AlertRule>, problems: &mut Problems) -> AlertRulePlan {
    let of_requests =
        matches!(spec.signal, AlertSignal::FailedLogins | AlertSignal::Refusals | AlertSignal::Faults);
    if !of_requests && *spec.group_by != AlertGroup::Nothing {
        let message = format!("{} has its own groups", spec.signal);
        problems.push(Problem::new(Code::FieldsClash, spec.group_by.at, "spec.signals.groupBy", message));
    }
    if spec.signal != AlertSignal::Refusals
        && let Some(first) = spec.reasons.first()
    {
        let message = "`reasons` belongs to `Refusals`";
        problems.push(Problem::new(Code::FieldsClash, first.at, "spec.signals.reasons", message));
    }
    if is_standing(spec.signal)
        && let Some(count) = &spec.count
    {
        let message = format!("{} is so or is not: there is nothing to count", spec.signal);
        problems.push(Problem::new(Code::FieldsClash, count.at, "spec.signals.count", message));
    }
    let mut reasons = Vec::new();
    for word in &spec.reasons {
        match Reason::ALL.iter().find(|reason| reason.as_str() == word.as_str()) {
            Some(reason) => reasons.push(*reason),
            None => {
                let message = format!("there is no reason {}", shown(word));
                problems.push(
                    Problem::new(Code::BadWord, word.at, "spec.signals.reasons", message)
                        .hint("the reasons are in docs/errors"),
                );
            }
        }
    }
    let default = match spec.signal {
        AlertSignal::FailedLogins => FAILED_LOGINS,
        AlertSignal::Refusals => REFUSALS,
        _ => 1,
    };
    let window = positive(&spec.window, "spec.signals.window", problems);
    if window > WINDOW_MAX {
        let message = "the window is longer than a day";
        problems.push(Problem::new(Code::BadValue, spec.window.at, "spec.signals.window", message));
    }
    AlertRulePlan {
        signal: spec.signal,
        count: spec.count.as_ref().map_or(default, |count| count.value.get().get()),
        window,
        group_by: *spec.group_by,
        reasons,
        before: spec.before.get(),
    }
}

/// What is so for a while, as opposed to what happens and can be counted.
const fn is_standing(signal: AlertSignal) -> bool {
    matches!(signal, AlertSignal::Expiry | AlertSignal::AuditFinding | AlertSignal::KeyHandover)
}

/// Some looks at what stands, which are two seconds apart.
const STANDING_RECOVERY_MIN: std::time::Duration = std::time::Duration::from_secs(10);
/// A person mistypes a password a few times; twenty in a minute is a machine.
const FAILED_LOGINS: u64 = 20;
const REFUSALS: u64 = 100;
/// What is counted is kept in memory for so long.
const WINDOW_MAX: std::time::Duration = std::time::Duration::from_secs(86_400);
