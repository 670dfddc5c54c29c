//! The commands, one file each, and what several of them share.

pub(crate) mod access;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod models;
pub(crate) mod routes;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod verify;

mod data_dir;
mod print;
mod set;
mod words;
