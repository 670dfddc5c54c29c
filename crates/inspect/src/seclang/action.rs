//! The third argument of `SecRule`: `id:1,phase:2,deny,t:none,setvar:'tx.a=+1'`.

use std::sync::Arc;

use crate::{
    body::Processor,
    error::Problem,
    pattern::WordOrPattern,
    rule::{
        AllowScope, Change, Control, Disruption, Effect, Phase, Removal, SetVar, Severity, Template, Variable,
    },
    ruleset::EngineMode,
    seclang::target,
    transform::Transform,
};

/// What is said about what a match decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// `block`: what the phase's default says.
    Block,
    /// Said here.
    Is(Disruption),
}

/// Everything an action list says.
#[derive(Clone, Debug, Default)]
pub(super) struct Actions {
    pub(super) id: Option<u32>,
    pub(super) phase: Option<Phase>,
    pub(super) decision: Option<Decision>,
    pub(super) status: Option<u16>,
    pub(super) log: Option<bool>,
    pub(super) audit: Option<bool>,
    pub(super) message: Option<Template>,
    pub(super) message_text: Option<String>,
    pub(super) log_data: Option<Template>,
    pub(super) tags: Vec<Arc<str>>,
    pub(super) severity: Option<Severity>,
    pub(super) version: Option<Arc<str>>,
    pub(super) skip_after: Option<Arc<str>>,
    pub(super) skip: u32,
    pub(super) chain: bool,
    pub(super) capture: bool,
    pub(super) multi_match: bool,
    /// `t:none` was said: what the defaults say is forgotten.
    pub(super) clears_transforms: bool,
    pub(super) transforms: Vec<Transform>,
    pub(super) effects: Vec<Effect>,
}

impl Actions {
    /// Whether it says anything that only the first rule of a chain may say.
    pub(super) fn speaks_for_a_chain(&self) -> Option<&'static str> {
        if self.id.is_some() {
            Some("a chained rule has no id of its own")
        } else if self.phase.is_some() {
            Some("a chained rule has no phase of its own")
        } else if self.decision.as_ref().is_some_and(|decision| *decision != Decision::Is(Disruption::Pass)) {
            Some("only the first rule of a chain decides")
        } else if self.skip_after.is_some() || self.skip > 0 {
            Some("only the first rule of a chain skips")
        } else {
            None
        }
    }
}

/// Reads an action list.
pub(super) fn actions(text: &str) -> Result<Actions, Problem> {
    let mut actions = Actions::default();
    for item in items(text)? {
        let (name, value) = match item.split_once(':') {
            Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
            None => (item.trim(), None),
        };
        one(&mut actions, name, value.as_deref())?;
    }
    Ok(actions)
}

/// Splits at commas outside quotes.
fn items(text: &str) -> Result<Vec<&str>, Problem> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' if !escaped => quoted = !quoted,
            b',' if !quoted => {
                found.push(text.get(start..at).unwrap_or_default().trim());
                start = at + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    if quoted {
        return Err(Problem::Text("a quotation mark in the action list is not closed"));
    }
    found.push(text.get(start..).unwrap_or_default().trim());
    found.retain(|item| !item.is_empty());
    Ok(found)
}

fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    inner.replace("\\'", "'")
}

fn one(actions: &mut Actions, name: &str, value: Option<&str>) -> Result<(), Problem> {
    let text = || value.ok_or(Problem::Missing("the value of an action")).map(str::to_owned);
    let wrong = |expected: &'static str| Problem::Argument {
        what: name.to_owned(),
        value: value.unwrap_or_default().to_owned(),
        expected,
    };
    match name.to_ascii_lowercase().as_str() {
        "accuracy" | "maturity" | "rev" => drop(text()?),
        "allow" => {
            let scope = match value.map(str::to_ascii_lowercase).as_deref() {
                None => AllowScope::Exchange,
                Some("phase") => AllowScope::Phase,
                Some("request") => AllowScope::Request,
                Some(_) => return Err(wrong("`phase` or `request`")),
            };
            actions.decision = Some(Decision::Is(Disruption::Allow(scope)));
        }
        "auditlog" => actions.audit = Some(true),
        "block" => actions.decision = Some(Decision::Block),
        "capture" => actions.capture = true,
        "chain" => actions.chain = true,
        "ctl" => actions.effects.push(Effect::Control(control(&text()?)?)),
        "deny" => actions.decision = Some(Decision::Is(Disruption::Deny)),
        "drop" => actions.decision = Some(Decision::Is(Disruption::Drop)),
        "expirevar" => actions.effects.push(expire(&text()?)?),
        "id" => {
            actions.id =
                Some(text()?.parse().ok().filter(|id| *id > 0).ok_or_else(|| wrong("a rule number"))?)
        }
        "initcol" => actions.effects.push(open(&text()?)?),
        "log" => actions.log = Some(true),
        "logdata" => actions.log_data = Some(template(&text()?)?),
        "msg" => {
            actions.message = Some(template(&text()?)?);
            actions.message_text = Some(text()?);
        }
        "multimatch" => actions.multi_match = true,
        "noauditlog" => actions.audit = Some(false),
        "nolog" => actions.log = Some(false),
        "pass" => actions.decision = Some(Decision::Is(Disruption::Pass)),
        "phase" => actions.phase = Some(Phase::from_word(&text()?).ok_or_else(|| wrong("a phase"))?),
        "redirect" => actions.decision = Some(Decision::Is(Disruption::Redirect(Arc::from(text()?)))),
        "setvar" => actions.effects.push(Effect::Set(set_variable(&text()?)?)),
        "setrsc" | "setsid" | "setuid" => {
            let collection = match name.to_ascii_lowercase().as_str() {
                "setrsc" => Variable::Resource,
                "setsid" => Variable::Session,
                _ => Variable::User,
            };
            actions.effects.push(Effect::Open { collection, key: template(&text()?)? });
        }
        "severity" => {
            actions.severity = Some(Severity::from_word(&text()?).ok_or_else(|| wrong("a severity"))?);
        }
        "skip" => actions.skip = text()?.parse().map_err(|_| wrong("a number of rules"))?,
        "skipafter" => actions.skip_after = Some(Arc::from(text()?)),
        "status" => {
            let status = text()?.parse().ok().filter(|status| (100..600).contains(status));
            actions.status = Some(status.ok_or_else(|| wrong("a status"))?);
        }
        "t" => transform(actions, &text()?)?,
        "tag" => actions.tags.push(Arc::from(text()?)),
        "ver" => actions.version = Some(Arc::from(text()?)),
        "exec"
        | "proxy"
        | "pause"
        | "append"
        | "prepend"
        | "setenv"
        | "deprecatevar"
        | "sanitisearg"
        | "sanitisematched"
        | "sanitisematchedbytes"
        | "sanitiserequestheader"
        | "sanitiseresponseheader"
        | "xmlns" => {
            return Err(Problem::Unsupported {
                kind: "action",
                word: name.to_owned(),
                reason: "it acts on the server or its log, which rules here do not",
            });
        }
        _ => return Err(Problem::Unknown { kind: "action", word: name.to_owned() }),
    }
    Ok(())
}

fn transform(actions: &mut Actions, word: &str) -> Result<(), Problem> {
    if word.eq_ignore_ascii_case("none") {
        actions.transforms.clear();
        actions.clears_transforms = true;
        return Ok(());
    }
    let transform = Transform::from_name(word)
        .ok_or_else(|| Problem::Unknown { kind: "transformation", word: word.to_owned() })?;
    actions.transforms.push(transform);
    Ok(())
}

fn template(text: &str) -> Result<Template, Problem> {
    Template::parse(text).map_err(|word| Problem::Unknown { kind: "macro", word })
}

fn collection(text: &str) -> Result<Variable, Problem> {
    match Variable::from_name(text) {
        Some(
            collection @ (Variable::Tx
            | Variable::Ip
            | Variable::Global
            | Variable::Resource
            | Variable::Session
            | Variable::User),
        ) => Ok(collection),
        _ => Err(Problem::Argument {
            what: "setvar".to_owned(),
            value: text.to_owned(),
            expected: "a collection that rules may change",
        }),
    }
}

/// `tx.name=value`, `=+n`, `=-n`, `!tx.name`, `tx.name`.
fn set_variable(text: &str) -> Result<SetVar, Problem> {
    let text = text.trim();
    let (text, removes) = match text.strip_prefix('!') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (target, value) = match text.split_once('=') {
        Some((target, value)) => (target, Some(value)),
        None => (text, None),
    };
    let (owner, name) =
        target.trim().split_once('.').ok_or(Problem::Missing("the name behind the collection"))?;
    if name.is_empty() {
        return Err(Problem::Missing("the name behind the collection"));
    }
    let change = match value {
        _ if removes => Change::Remove,
        None => Change::Assign(Template::text("1")),
        Some(value) => match (value.strip_prefix('+'), value.strip_prefix('-')) {
            (Some(number), _) => Change::Add(template(number)?),
            (_, Some(number)) => Change::Subtract(template(number)?),
            _ => Change::Assign(template(value)?),
        },
    };
    Ok(SetVar { collection: collection(owner.trim())?, name: template(&name.to_ascii_lowercase())?, change })
}

fn expire(text: &str) -> Result<Effect, Problem> {
    let (target, seconds) = text.split_once('=').ok_or(Problem::Missing("the seconds of expirevar"))?;
    let (owner, name) = target.split_once('.').ok_or(Problem::Missing("the name behind the collection"))?;
    Ok(Effect::Expire {
        collection: collection(owner)?,
        name: template(&name.to_ascii_lowercase())?,
        seconds: template(seconds)?,
    })
}

fn open(text: &str) -> Result<Effect, Problem> {
    let (owner, key) = text.split_once('=').ok_or(Problem::Missing("the key of initcol"))?;
    Ok(Effect::Open { collection: collection(owner)?, key: template(key)? })
}

fn control(text: &str) -> Result<Control, Problem> {
    let (name, value) = text.split_once('=').ok_or(Problem::Missing("the value of ctl"))?;
    let (name, value) = (name.trim(), value.trim());
    let wrong = |expected: &'static str| Problem::Argument {
        what: format!("ctl:{name}"),
        value: value.to_owned(),
        expected,
    };
    let switch = || match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong("`On` or `Off`")),
    };
    let targets = || {
        let (which, target) = value.split_once(';').ok_or(Problem::Missing("the target behind `;`"))?;
        let mut read = target::targets(&format!("!{}", target.trim().trim_start_matches('!')))?;
        match (read.exclude.pop(), read.exclude.is_empty() && read.include.is_empty()) {
            (Some(exclusion), true) => Ok((which.trim().to_owned(), exclusion)),
            _ => Err(wrong("one target")),
        }
    };
    Ok(match name.to_ascii_lowercase().as_str() {
        "auditengine" => Control::Audit(!value.eq_ignore_ascii_case("off")),
        "auditlogparts" | "debugloglevel" | "hashengine" | "hashenforcement" | "parsexmlintoargs" => {
            Control::Unobserved
        }
        "forcerequestbodyvariable" => Control::ForceRequestBody(switch()?),
        "requestbodyaccess" => Control::RequestBodyAccess(switch()?),
        "responsebodyaccess" => Control::ResponseBodyAccess(switch()?),
        "requestbodyprocessor" => {
            Control::Processor(Processor::from_word(value).ok_or_else(|| wrong("a body processor"))?)
        }
        "ruleengine" => Control::Mode(
            EngineMode::from_word(value).ok_or_else(|| wrong("`On`, `Off` or `DetectionOnly`"))?,
        ),
        "ruleremovebyid" => {
            Control::RemoveRules(Removal::Ids(ids(value).ok_or_else(|| wrong("rule numbers"))?))
        }
        "ruleremovebymsg" => Control::RemoveRules(Removal::Message(named(value)?)),
        "ruleremovebytag" => Control::RemoveRules(Removal::Tag(named(value)?)),
        "ruleremovetargetbyid" => {
            let (which, exclusion) = targets()?;
            Control::RemoveTargets(Removal::Ids(ids(&which).ok_or_else(|| wrong("rule numbers"))?), exclusion)
        }
        "ruleremovetargetbymsg" => {
            let (which, exclusion) = targets()?;
            Control::RemoveTargets(Removal::Message(named(&which)?), exclusion)
        }
        "ruleremovetargetbytag" => {
            let (which, exclusion) = targets()?;
            Control::RemoveTargets(Removal::Tag(named(&which)?), exclusion)
        }
        _ => return Err(Problem::Unknown { kind: "ctl", word: name.to_owned() }),
    })
}

pub(super) fn named(text: &str) -> Result<Arc<WordOrPattern>, Problem> {
    WordOrPattern::parse(text).map(Arc::new).map_err(Problem::Pattern)
}

/// `1,2-5`, divided by commas or white space.
pub(super) fn ids(text: &str) -> Option<Vec<(u32, u32)>> {
    let ranges: Option<Vec<_>> = text
        .split([',', ' '])
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (from, to) = item.split_once('-').unwrap_or((item, item));
            Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
        })
        .collect();
    ranges.filter(|ranges| !ranges.is_empty() && ranges.iter().all(|(from, to)| from <= to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_with_quotes_and_commas_are_read() {
        let actions = actions(
            "id:1,phase:request,block,t:lowercase,t:none,t:urlDecodeUni,msg:'a, \\'b\\'',tag:'x',setvar:'tx.a=+%{tx.b}',\
             severity:'CRITICAL',nolog,skipAfter:END",
        )
        .unwrap();
        assert_eq!(actions.id, Some(1));
        assert_eq!(actions.transforms, [Transform::UrlDecodeUni]);
        assert!(actions.clears_transforms);
        assert_eq!(actions.message_text.as_deref(), Some("a, 'b'"));
        assert_eq!(actions.log, Some(false));
        assert!(matches!(&actions.effects[..], [Effect::Set(SetVar { change: Change::Add(_), .. })]));
    }

    #[test]
    fn the_grammar_of_setvar_is_read_whole() {
        for (text, expected) in [
            ("tx.a=b", "Assign"),
            ("tx.a=+1", "Add"),
            ("tx.a=-1", "Subtract"),
            ("!tx.a", "Remove"),
            ("TX.a", "Assign"),
            ("tx.a=", "Assign"),
            ("tx.a_%{tx.n}=%{tx.1}", "Assign"),
            ("tx.a=b=c", "Assign"),
        ] {
            let change = set_variable(text).unwrap().change;
            assert!(format!("{change:?}").starts_with(expected), "{text}: {change:?}");
        }
        for text in ["a", "tx.", "args.a=1", "tx.a=%{nosuch}"] {
            assert!(set_variable(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_or_refused_is_an_error() {
        for text in [
            "nosuch",
            "id:0",
            "id:x",
            "phase:9",
            "t:nosuch",
            "status:99",
            "severity:X",
            "ctl:nosuch=1",
            "msg:'open",
            "exec:/bin/x",
            "ctl:ruleRemoveById=x",
            "ctl:ruleRemoveTargetById=1",
            "ctl:requestBodyProcessor=LUA",
            "id",
            "ctl:ruleRemoveTargetById=1;NOSUCH:x",
            "ctl:ruleEngine=Perhaps",
        ] {
            assert!(actions(text).is_err(), "{text}");
        }
    }
}
