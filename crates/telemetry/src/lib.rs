//! What happened: the record of each request, the access log, the metrics, and what must be hidden in both.
//!
//! This room knows the words of `model` and the types of `http`, and nothing else of the gateway; it opens no
//! socket. The request path fills a [`RequestRecord`], hands it to a [`Recorder`] and adds to its core's
//! [`CoreMetrics`]; formatting, hashing and writing happen on the log's own thread. Reading order:
//!
//! * [`record`] what is known of one request, [`text`] how its texts are kept;
//! * [`plan`] and [`redact`] what of it may be shown;
//! * [`json`] one line per record, with [`escape`] and [`time`];
//! * [`ring`] the bounded way to the writer, [`writer`] the thread, [`sink`] stdout or a rotated file, [`losses`] what
//!   did not arrive, [`records`] the last requests to be found again;
//! * [`event`] what happened to the process, for alerts;
//! * [`mod@tap`] lines for someone who looks at them as they are written;
//! * [`capture`] the encrypted file of what judges were given;
//! * [`metrics`] counters per core, summed when scraped.

pub mod capture;
pub mod escape;
pub mod event;
pub mod json;
pub mod losses;
pub mod metrics;
pub mod plan;
pub mod record;
pub mod records;
pub mod redact;
pub mod ring;
pub mod rules;
pub mod sink;
pub mod tap;
pub mod text;
pub mod time;
pub mod usage;
pub mod writer;

pub use event::{ProcessEvent, ProcessEvents};
pub use losses::{LogCounters, LogFigures};
pub use metrics::{
    CoreMetrics, FetchOutcome, FetchPurpose, FetchTable, InsightFigures, Metrics, OverloadFigures,
};
pub use plan::{AddressPrivacy, QueryValues, RecordPlan};
pub use record::{Exit, PassedFault, Protocol, Refusal, RequestRecord, WouldDeny};
pub use records::{RecordKeeper, RecordOptions, RecordReader};
pub use redact::AddressKey;
pub use ring::Recorder;
pub use rules::{LeakCount, MatchedRules, RuleMatch, RuleRole};
pub use sink::{Destination, FileOptions};
pub use tap::{Tap, Tapped, tap};
pub use writer::{AccessLog, Flushed, LogOptions, RecordWatch};
