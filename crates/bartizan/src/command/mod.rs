//! The commands, one file each, and what several of them share.

pub(crate) mod access;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cache;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod insight;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod replay;
pub(crate) mod review;
pub(crate) mod revision;
pub(crate) mod rollout;
pub(crate) mod routes;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod test;
pub(crate) mod tokens;
pub(crate) mod usage;
pub(crate) mod users;
pub(crate) mod verify;
pub(crate) mod why;

pub(crate) mod audit_state;

mod author;
mod data_dir;
mod deed;
mod print;
mod records;
mod sarif;
pub(crate) mod set;
pub(crate) mod when;
mod words;

pub(crate) use when::now_ms;
