//! `Team`: consumers who share models and a budget.

use super::quota::QuotaSpec;
use crate::{
    read::{OneOrMany, Spanned},
    scalar::Name,
};

crate::document! {
    /// Consumers who share models and a budget. A consumer is in one team at most.
    pub struct TeamSpec {
        /// The consumers in it.
        pub members: Vec<Spanned<Name>> = Vec::new(),
        /// Models that its members may use, by name; none means all that they may otherwise.
        pub models: Vec<Spanned<Name>> = Vec::new(),
        /// What its members may use together; without it nothing is shared.
        pub budget: OneOrMany<Spanned<QuotaSpec>> = OneOrMany::default(),
    }
}
