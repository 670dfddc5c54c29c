//! Who gives a command, for the record. It is a note, not a proof: whoever may write the store may write any name.

/// The person behind `sudo`, else the user.
pub(crate) fn author() -> Option<String> {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|name| !name.trim().is_empty()))?;
    // What the store would refuse is not worth failing for.
    let is_sound = name.chars().count() <= 200 && !name.contains(char::is_control);
    is_sound.then_some(name)
}

/// As [`author`], and a word where nobody can be named.
pub(crate) fn author_or_local() -> String {
    author().unwrap_or_else(|| "local".to_owned())
}
