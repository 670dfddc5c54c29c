//! Paths: `//`, `/./` and `/../` are resolved. A `..` that leads above a relative start stays visible; above the
//! root it vanishes.

/// Resolves a path with `/`.
pub(super) fn normalize(input: &[u8], output: &mut Vec<u8>) -> bool {
    // Without a slash there is one segment, and of those only `.` goes.
    if memchr::memchr(b'/', input).is_none() && input != b"." {
        return false;
    }
    resolve(input, output);
    output.as_slice() != input
}

/// Turns `\` into `/`, then resolves.
pub(super) fn normalize_windows(input: &[u8], output: &mut Vec<u8>) -> bool {
    if memchr::memchr2(b'/', b'\\', input).is_none() && input != b"." {
        return false;
    }
    let slashed: Vec<u8> = input.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    resolve(&slashed, output);
    output.as_slice() != input
}

fn resolve(input: &[u8], output: &mut Vec<u8>) {
    let absolute = input.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut last_is_folder = false;
    for segment in input.split(|byte| *byte == b'/') {
        last_is_folder = segment.is_empty() || segment == b".";
        match segment {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(&last) if last != b".." => {
                    kept.pop();
                    last_is_folder = true;
                }
                _ if absolute => last_is_folder = true,
                _ => kept.push(segment),
            },
            _ => kept.push(segment),
        }
    }
    if absolute {
        output.push(b'/');
    }
    for (index, segment) in kept.iter().enumerate() {
        if index > 0 {
            output.push(b'/');
        }
        output.extend_from_slice(segment);
    }
    // A trailing slash says "folder" and is kept; `a/.` and `a/b/..` lose theirs as in ModSecurity.
    if input.last() == Some(&b'/') && last_is_folder && !kept.is_empty() {
        output.push(b'/');
    }
}
