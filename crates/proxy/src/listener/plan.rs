//! The compiled plans that this side works from.

pub use bartizan_config::snapshot::{
    AdmissionPlan, CertificatePlan, HostPattern, ListenerPlan, TlsPlan, TlsVersion,
};
