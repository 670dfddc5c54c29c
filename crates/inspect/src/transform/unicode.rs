//! UTF-8 sequences written as `%uhhhh`, so that one form of a character is tested whatever encoding it came in.
//!
//! Only characters that some decoder reads as ASCII or Latin-1 are rewritten: those up to U+00FF and the full-width
//! forms. The reference engines rewrite every character, and `urlDecodeUni` then keeps the low byte of each: an Arabic
//! alef becomes a quotation mark and Chinese prose a SQL comment. Ordinary text in those scripts must pass.

/// Rewrites those characters as `%u` and four digits; anything else stays.
pub(super) fn utf8_to_unicode(input: &[u8], output: &mut Vec<u8>) -> bool {
    if input.is_ascii() {
        return false;
    }
    let mut changed = false;
    for chunk in input.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u32::from(character) {
                0..=0x7f => output.push(character as u8),
                code @ (0x80..=0xff | 0xff00..=0xffef) => {
                    changed = true;
                    output.extend_from_slice(format!("%u{code:04x}").as_bytes());
                }
                _ => output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        output.extend_from_slice(chunk.invalid());
    }
    changed
}
