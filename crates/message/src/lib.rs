//! The HTTP message as Bartizan understands it.
