//! Access log, metrics and redaction.
