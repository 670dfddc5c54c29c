//! Directives that configure the engine. What has a meaning here is kept; what concerns files, logs and servers is
//! accepted and noted, so that a configuration in use loads and the operator is told what does nothing.

use super::lex::Directive;
use crate::{
    error::Problem,
    ruleset::{EngineMode, Notice, OnLimit, Settings},
};

/// Accepted, without effect here.
const UNOBSERVED: [&str; 35] = [
    "secauditengine",
    "secauditlog",
    "secauditlog2",
    "secauditlogdirmode",
    "secauditlogfilemode",
    "secauditlogformat",
    "secauditlogparts",
    "secauditlogrelevantstatus",
    "secauditlogstoragedir",
    "secauditlogtype",
    "secauditlogdir",
    "seccollectiontimeout",
    "seccomponentsignature",
    "secconnengine",
    "seccookiev0separator",
    "secdatadir",
    "secdebuglog",
    "secdebugloglevel",
    "secdisablebackendcompression",
    "secpcrematchlimit",
    "secpcrematchlimitrecursion",
    "secrequestbodyinmemorylimit",
    "secruleperftime",
    "secsensorid",
    "secserversignature",
    "secstatusengine",
    "sectmpdir",
    "sectmpsaveuploadedfiles",
    "secunicodemapfile",
    "secuploaddir",
    "secuploadfilemode",
    "secuploadkeepfiles",
    "secwebappid",
    "secinterceptonerror",
    "seccachetransformations",
];

/// Takes one directive into the settings.
pub(super) fn engine(
    settings: &mut Settings,
    notices: &mut Vec<Notice>,
    directive: &Directive,
) -> Result<(), Problem> {
    let name = directive.name.to_ascii_lowercase();
    let first = directive.arguments.first().map(String::as_str).unwrap_or_default();
    let wrong = |expected: &'static str| Problem::Argument {
        what: directive.name.clone(),
        value: first.to_owned(),
        expected,
    };
    let number = || first.parse::<usize>().map_err(|_| wrong("a number"));
    let switch = || match first.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong("`On` or `Off`")),
    };
    let on_limit = || match first.to_ascii_lowercase().as_str() {
        "reject" => Ok(OnLimit::Reject),
        "processpartial" => Ok(OnLimit::ReadStart),
        _ => Err(wrong("`Reject` or `ProcessPartial`")),
    };
    if !UNOBSERVED.contains(&name.as_str())
        && name != "secresponsebodymimetypesclear"
        && directive.arguments.is_empty()
    {
        return Err(Problem::Missing("the argument of a directive"));
    }
    match name.as_str() {
        "secruleengine" => {
            settings.mode =
                EngineMode::from_word(first).ok_or_else(|| wrong("`On`, `Off` or `DetectionOnly`"))?;
        }
        "secrequestbodyaccess" => settings.request_body_access = switch()?,
        "secrequestbodylimit" => settings.request_body_bytes_max = number()?,
        "secrequestbodynofileslimit" => settings.request_body_no_files_bytes_max = number()?,
        "secrequestbodylimitaction" => settings.on_request_limit = on_limit()?,
        "secrequestbodyjsondepthlimit" => settings.json_depth_max = number()?.min(1024),
        "secargumentslimit" => settings.arguments_max = number()?,
        "secuploadfilelimit" => settings.files_max = number()?,
        "secresponsebodyaccess" => settings.response_body_access = switch()?,
        "secresponsebodylimit" => settings.response_body_bytes_max = number()?,
        "secresponsebodylimitaction" => settings.on_response_limit = on_limit()?,
        "secresponsebodymimetype" => {
            settings.response_types =
                directive.arguments.iter().map(|word| word.to_ascii_lowercase()).collect();
        }
        "secresponsebodymimetypesclear" => settings.response_types.clear(),
        "secargumentseparator" if first != "&" => {
            return Err(unsupported(directive, "only `&` divides arguments"));
        }
        "seccookieformat" if first != "0" => {
            return Err(unsupported(directive, "only version 0 cookies are in use"));
        }
        "secxmlexternalentity" if switch()? => {
            return Err(unsupported(directive, "XML entities are never fetched"));
        }
        "secparsexmlintoargs" if switch()? => {
            return Err(unsupported(directive, "XML is seen through the XML variable"));
        }
        "secargumentseparator" | "seccookieformat" | "secxmlexternalentity" | "secparsexmlintoargs" => {}
        "secrulescript"
        | "secruleinheritance"
        | "secguardianlog"
        | "secchrootdir"
        | "sechttpblkey"
        | "secgeolookupdb"
        | "secgsblookupdb"
        | "secremoterules"
        | "secremoterulesfailaction"
        | "seccontentinjection"
        | "secstreaminbodyinspection"
        | "secstreamoutbodyinspection"
        | "sechashengine"
        | "secxmlvalidation" => {
            return Err(unsupported(directive, "not part of this engine"));
        }
        _ if UNOBSERVED.contains(&name.as_str()) => {
            if name != "seccomponentsignature" {
                notices.push(Notice {
                    place: directive.place.clone(),
                    text: format!("{} has no effect here", directive.name),
                });
            }
        }
        _ => return Err(Problem::Unknown { kind: "directive", word: directive.name.clone() }),
    }
    Ok(())
}

fn unsupported(directive: &Directive, reason: &'static str) -> Problem {
    Problem::Unsupported { kind: "directive", word: directive.name.clone(), reason }
}
