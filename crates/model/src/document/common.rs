//! What several kinds share: references to other documents and the fields that every policy has.

use crate::{
    read::Spanned,
    scalar::{HeaderName, HeaderValue, Name},
};

crate::choice! {
    /// What a policy can be attached to.
    pub enum TargetKind {
        /// Every request that enters by this listener.
        Listener = "Listener",
        /// Every request that this route matches.
        Route = "Route",
        /// Every request of this consumer, whatever the route.
        Consumer = "Consumer",
    }
}

crate::document! {
    /// What a policy is attached to.
    pub struct TargetRef {
        /// The kind of the target.
        pub kind: TargetKind,
        /// The target's name.
        pub name: Spanned<Name>,
        /// One rule of a route, by its `name`; absent means the whole target.
        pub section_name: Option<Spanned<Name>>,
    }
}

crate::document! {
    /// A listener that a route is attached to.
    pub struct ParentRef {
        /// The listener's name.
        pub name: Spanned<Name>,
    }
}

crate::document! {
    /// One header field, name and value.
    pub struct HeaderField {
        /// The field's name.
        pub name: Spanned<HeaderName>,
        /// The field's value.
        pub value: HeaderValue,
    }
}

crate::document! {
    /// Changes to a header section, applied in the order remove, set, add.
    pub struct HeaderChanges: Default {
        /// Replace the field, or add it where absent.
        pub set: Vec<HeaderField> = Vec::new(),
        /// Add a further value.
        pub add: Vec<HeaderField> = Vec::new(),
        /// Remove the field.
        pub remove: Vec<Spanned<HeaderName>> = Vec::new(),
    }
}

impl HeaderChanges {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
