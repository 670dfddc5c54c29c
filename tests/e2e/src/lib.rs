//! What the end-to-end tests share: a table of attacks as data, its runner, and the page written from it.
//!
//! * [`table`]: a row: what is sent and what must become of it.
//! * [`house`]: the gateway under attack, its listeners, and the origins behind it.
//! * [`mod@run`]: plays rows, judges them, counts what it ran.
//! * [`mod@page`]: the text of `docs/attacks.md`.
//! * [`openid`]: a real OpenID provider beside the gateway.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails the test, and tells why")]

pub mod house;
pub mod openid;
pub mod page;
pub mod run;
pub mod table;

pub use house::House;
pub use table::{Case, Expect, How, Row, Standing};
