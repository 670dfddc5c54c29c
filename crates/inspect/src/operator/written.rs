//! `@rx` with macros, as CRS 3.3 has one: the pattern is built when its text is known, and kept until the text changes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    pattern::{Pattern, Unusable},
    rule::Template,
};

/// 4 KiB: a longer text is not a pattern that a rule set writes, and building it would cost the request.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// A pattern whose text has macros.
#[derive(Debug)]
pub struct WrittenPattern {
    template: Template,
    last: Mutex<Option<Arc<Pattern>>>,
}

impl WrittenPattern {
    /// A pattern still to be written.
    #[must_use]
    pub fn new(template: Template) -> Self {
        Self { template, last: Mutex::new(None) }
    }

    /// Its text.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The pattern for a text.
    ///
    /// # Errors
    /// When the text is no pattern, or too long for one: then nothing was judged, which the session says.
    pub fn pattern(&self, text: &[u8]) -> Result<Arc<Pattern>, Unusable> {
        let text =
            std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_BYTES_MAX).ok_or(Unusable)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = last.as_ref().filter(|known| known.text() == text) {
            return Ok(Arc::clone(known));
        }
        let pattern = Arc::new(Pattern::parse(text).map_err(|_| Unusable)?);
        *last = Some(Arc::clone(&pattern));
        Ok(pattern)
    }
}
