//! `Model`: a model as callers know it.

use crate::{
    read::Spanned,
    scalar::{Count, ModelName, Name, Price},
};

crate::choice! {
    /// Which target is asked first.
    pub enum ModelStrategy {
        /// In the order written; the next one serves when the one before cannot.
        Ordered = "Ordered",
        /// Drawn by weight; the others serve, in order, when it cannot.
        Weighted = "Weighted",
        /// The one that began to answer fastest of late; the others serve, in that order, when it cannot.
        LowestLatency = "LowestLatency",
    }
}

crate::document! {
    /// A model as callers know it: its name, and the providers' models that serve it. Published by a Route with
    /// `backendRefs: [{ kind: Models }]`.
    pub struct ModelSpec {
        /// Other names by which callers may ask for it.
        pub aliases: Vec<Spanned<ModelName>> = Vec::new(),
        /// Who serves it.
        pub targets: Vec<Spanned<ModelTarget>>,
        /// Which target is asked first.
        pub strategy: ModelStrategy = ModelStrategy::Ordered,
        /// Callers must have one of these roles; none means whoever the route's policies let pass.
        pub roles: Vec<Spanned<Name>> = Vec::new(),
        /// Tokens of an answer where the caller sets no bound and the provider, or a budget, demands one.
        pub max_output_tokens: Option<Count>,
        /// What it costs; the gateway's own table where absent.
        pub price: Option<Spanned<ModelPrice>>,
        /// Tell callers who served, in `X-AI-Provider` and `X-AI-Model`.
        pub tell_target: bool = false,
    }
}

crate::document! {
    /// A provider's model.
    pub struct ModelTarget {
        /// The Upstream, of `kind: Llm`.
        pub upstream: Spanned<Name>,
        /// The provider's name of the model; the document's own where absent.
        pub model: Option<Spanned<ModelName>>,
        /// With `strategy: Weighted`: its share relative to the others.
        pub weight: Count = Count::of(1),
    }
}

crate::document! {
    /// Prices in dollars for a million tokens.
    pub struct ModelPrice {
        /// Input.
        pub input: Price,
        /// Output, reasoning included.
        pub output: Price,
        /// Input that the provider had in its cache; `input` where absent.
        pub cached_input: Option<Price>,
        /// Input that is written to the provider's cache; `input` where absent.
        pub cache_write: Option<Price>,
    }
}
