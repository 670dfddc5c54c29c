//! `PromptTemplate`: a prompt as an API.

use crate::{
    read::Spanned,
    scalar::{ByteSize, Count, Name},
};

crate::document! {
    /// A prompt as an API: callers fill in its variables, and get the model's answer. Published by a Route with
    /// `backendRefs: [{ kind: PromptTemplate, name: … }]`.
    pub struct PromptTemplateSpec {
        /// The Model that is asked, by its name.
        pub model: Spanned<Name>,
        /// The conversation; `{{name}}` is the place of a variable.
        pub messages: Vec<Spanned<PromptMessage>>,
        /// What callers fill in.
        pub variables: Vec<Spanned<PromptVariable>> = Vec::new(),
        /// Tokens of the answer at most; the Model's bound where absent.
        pub max_output_tokens: Option<Count>,
        /// Sampling temperature in hundredths, 0 to 200; the provider's own where absent.
        pub temperature_percent: Option<Spanned<u32>>,
    }
}

crate::document! {
    /// One turn of the conversation.
    pub struct PromptMessage {
        /// Who speaks.
        pub role: PromptRole = PromptRole::User,
        /// What is said; `{{name}}` is the place of a variable.
        pub content: Spanned<String>,
    }
}

crate::choice! {
    /// Who speaks in a prompt.
    pub enum PromptRole {
        /// The author of the prompt.
        System = "system",
        /// The caller.
        User = "user",
        /// The model, as an example.
        Assistant = "assistant",
    }
}

crate::document! {
    /// What callers fill in.
    pub struct PromptVariable {
        /// Its name: letters, digits and `_`.
        pub name: Spanned<String>,
        /// Of which type.
        pub type_: PromptType as "type" = PromptType::Text,
        /// What it means, for people.
        pub description: Option<String>,
        /// What stands there where a caller says nothing; without it they must say something.
        pub default: Option<Spanned<String>>,
        /// With `Text`: its largest size.
        pub max_bytes: Option<Spanned<ByteSize>>,
        /// With `Integer`: the smallest; 0 where absent.
        pub minimum: Option<Spanned<u32>>,
        /// With `Integer`: the largest.
        pub maximum: Option<Spanned<u32>>,
        /// With `Choice`: the words that may stand there.
        pub values: Vec<Spanned<String>> = Vec::new(),
    }
}

crate::choice! {
    /// The type of a variable.
    pub enum PromptType {
        /// Text: invisible letters are left out, and `&`, `<`, `>` are written so that they close no tag.
        Text = "Text",
        /// A whole number, not below 0.
        Integer = "Integer",
        /// True or false.
        Boolean = "Boolean",
        /// One of some words.
        Choice = "Choice",
    }
}
