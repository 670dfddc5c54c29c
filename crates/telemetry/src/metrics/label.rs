//! The label values that are not names: methods, status codes and fixed words.
//!
//! A caller chooses the method and an upstream the code, so both are looked up in a known list; the rest share a
//! value. That keeps the number of series independent of what is sent.

use bartizan_model::Reason;
use http::Method;

macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The label's value.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            pub(super) const COUNT: usize = Self::ALL.len();
        }
    };
}

words! {
    /// What a rate limit said.
    Decision {
        /// The call may pass at once.
        Allow = "allow",
        /// The call is refused.
        Deny = "deny",
        /// The call waits for its slot.
        Throttle = "throttle",
    }
}

words! {
    /// Which counter of failed attempts to identify has filled.
    FailureCounter {
        /// That of a block of addresses.
        Address = "address",
        /// That of a wider prefix.
        Prefix = "prefix",
        /// That of an account at a block of addresses.
        Account = "account",
        /// That of an account from everywhere.
        AccountUnderAttack = "account_under_attack",
        /// That of a route from everywhere.
        RouteUnderAttack = "route_under_attack",
    }
}

words! {
    /// What an inspection came to.
    Inspected {
        /// Nothing stands against the message.
        Passed = "passed",
        /// A rule refuses it.
        Refused = "refused",
        /// It could not be judged completely.
        Incomplete = "incomplete",
    }
}

words! {
    /// What the cache did for a request.
    Cached {
        /// A fresh answer was kept.
        Hit = "hit",
        /// A stale one was given while it is validated.
        Stale = "stale",
        /// A stale one was given because the upstream failed.
        StaleOnError = "stale_on_error",
        /// The upstream confirmed what was kept.
        Validated = "validated",
        /// The answer to an equal request, which was on its way, was waited for.
        Collapsed = "collapsed",
        /// The upstream was asked.
        Miss = "miss",
        /// Such a request has nothing to do with the cache.
        Bypass = "bypass",
    }
}

words! {
    /// What validating a stale answer in the background came to.
    Refreshed {
        /// It is fresh again, or another one is kept.
        Renewed = "renewed",
        /// The upstream failed, or its answer may not be kept.
        Failed = "failed",
    }
}

words! {
    /// How one attempt at an endpoint ended.
    Outcome {
        /// It answered with a status below 500.
        Answered = "answered",
        /// It answered with a status of 500 or above.
        ServerError = "server_error",
        /// No connection could be made.
        ConnectFailed = "connect_failed",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It closed or reset before the end of its answer.
        Reset = "reset",
        /// It answered with something that is not valid HTTP.
        Misbehaved = "misbehaved",
        /// The client left first.
        Cancelled = "cancelled",
    }
}

words! {
    /// What a connection to an endpoint does.
    ConnectionState {
        /// It carries a request.
        Active = "active",
        /// It waits in the pool.
        Idle = "idle",
    }
}

words! {
    /// Why a connection was not served.
    RefusedConnection {
        /// The address is not allowed.
        AddressDenied = "address_denied",
        /// The listener has as many as it may.
        ListenerFull = "listener_full",
        /// The address has as many as it may.
        AddressFull = "address_full",
        /// The address's network has as many as it may.
        PrefixFull = "prefix_full",
        /// The PROXY protocol header is missing, late or wrong.
        ProxyHeader = "proxy_header",
        /// It sent no complete head in time.
        HeadTimeout = "head_timeout",
        /// The process has no file descriptors or memory left.
        Resources = "resources",
    }
}

/// A method in a label.
const METHODS: [&str; 10] =
    ["_other", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// The method's place in the list; 0 for any that is not in it.
pub(super) fn method_number(method: &Method) -> usize {
    match *method {
        Method::GET => 1,
        Method::HEAD => 2,
        Method::POST => 3,
        Method::PUT => 4,
        Method::PATCH => 5,
        Method::DELETE => 6,
        Method::OPTIONS => 7,
        Method::CONNECT => 8,
        Method::TRACE => 9,
        _ => 0,
    }
}

/// The label of a method's number.
pub(super) fn method_label(number: usize) -> &'static str {
    METHODS.get(number).copied().unwrap_or("_other")
}

/// Registered status codes, and 499 for a client that left before an answer, with their labels.
const CODES: [(u16, &str); 66] = [
    (100, "100"),
    (101, "101"),
    (102, "102"),
    (103, "103"),
    (104, "104"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (203, "203"),
    (204, "204"),
    (205, "205"),
    (206, "206"),
    (207, "207"),
    (208, "208"),
    (226, "226"),
    (300, "300"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (305, "305"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (402, "402"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (407, "407"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (416, "416"),
    (417, "417"),
    (418, "418"),
    (421, "421"),
    (422, "422"),
    (423, "423"),
    (424, "424"),
    (425, "425"),
    (426, "426"),
    (428, "428"),
    (429, "429"),
    (431, "431"),
    (451, "451"),
    (499, "499"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (505, "505"),
    (506, "506"),
    (507, "507"),
    (508, "508"),
    (510, "510"),
    (511, "511"),
    (529, "529"),
    (530, "530"),
];

/// Labels of codes that are not in the list, by class; the last is for no answer at all.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The code's number: its place in the list, else its class after the list.
pub(super) fn code_number(code: u16) -> usize {
    match CODES.binary_search_by_key(&code, |(known, _)| *known) {
        Ok(place) => place,
        Err(_) => match code {
            100..=599 => CODES.len() + usize::from(code / 100) - 1,
            _ => CODES.len() + CLASSES.len() - 1,
        },
    }
}

/// The label of a code's number.
pub(super) fn code_label(number: usize) -> &'static str {
    let class = number.saturating_sub(CODES.len());
    CODES.get(number).map(|(_, label)| *label).or_else(|| CLASSES.get(class).copied()).unwrap_or("none")
}

/// The reason's place in [`Reason::ALL`].
pub(super) fn reason_number(reason: Reason) -> usize {
    // The enum has no explicit discriminants and `ALL` lists it in order; a test holds them together.
    reason as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_have_their_label_and_all_others_share_one() {
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(method_label(method_number(&method)), name);
        }
        for name in ["get", "PROPFIND", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(method_label(method_number(&method)), "_other");
        }
    }

    #[test]
    fn known_codes_have_their_label_and_all_others_their_class() {
        assert!(CODES.is_sorted_by(|a, b| a.0 < b.0));
        for (code, label) in
            [(200, "200"), (429, "429"), (530, "530"), (299, "2xx"), (599, "5xx"), (600, "none"), (0, "none")]
        {
            assert_eq!(code_label(code_number(code)), label);
        }
        assert!(CODES.iter().all(|(code, label)| code.to_string() == *label));
        assert!((0..=u16::MAX).all(|code| code_number(code) < CODES.len() + CLASSES.len()));
    }

    #[test]
    fn each_reason_is_at_its_number() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason_number(*reason), number);
        }
    }
}
