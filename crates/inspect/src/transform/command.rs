//! Command lines, as shells read them: quotes and carets vanish, separators become spaces.

/// Removes `\`, `"`, `'`, `^`; turns `,`, `;` and white space into one space; removes spaces before `/` and `(`;
/// makes letters small.
pub(super) fn command_line(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut space = false;
    for &byte in input {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if !space {
                    output.push(b' ');
                    space = true;
                }
            }
            b'/' | b'(' => {
                if space {
                    output.pop();
                }
                space = false;
                output.push(byte);
            }
            _ => {
                output.push(byte.to_ascii_lowercase());
                space = false;
            }
        }
    }
    output.as_slice() != input
}
