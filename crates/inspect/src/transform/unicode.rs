//! UTF-8 sequences written as `%uhhhh`, so that one form of a character is tested whatever encoding it came in.

/// Valid sequences of two to four bytes become `%u` and at least four digits; anything else stays.
pub(super) fn utf8_to_unicode(input: &[u8], output: &mut Vec<u8>) -> bool {
    if input.is_ascii() {
        return false;
    }
    let mut changed = false;
    for chunk in input.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_ascii() {
                output.push(character as u8);
            } else {
                changed = true;
                output.extend_from_slice(format!("%u{:04x}", u32::from(character)).as_bytes());
            }
        }
        output.extend_from_slice(chunk.invalid());
    }
    changed
}
