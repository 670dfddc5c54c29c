//! Where the process keeps its data.

use std::path::Path;

use bartizan_store::{DataDir, DataDirChoice, Error, RootKey, data_dir::is_root};

/// Opens the data directory: the option, else `$BARTIZAN_DATA_DIR`, else the place for state of this user.
pub(crate) fn data_dir(flag: Option<&Path>) -> Result<DataDir, Error> {
    let variable = |name: &str| std::env::var_os(name);
    let (own, xdg, home) = (variable("BARTIZAN_DATA_DIR"), variable("XDG_STATE_HOME"), variable("HOME"));
    let choice = DataDirChoice {
        flag,
        variable: own.as_deref(),
        xdg_state_home: xdg.as_deref(),
        home: home.as_deref(),
        is_root: is_root(),
    };
    Ok(DataDir::open(&choice.resolve()?)?.with_root(root_of_environment()?))
}

/// The data directory that an address of a store means.
pub(crate) fn store_dir(address: &str) -> Result<DataDir, Error> {
    Ok(DataDir::of_store(address)?.with_root(root_of_environment()?))
}

/// `$BARTIZAN_ROOT_KEY`: the key that the store is encrypted under, where it is not to lie beside it.
pub(crate) fn root_of_environment() -> Result<Option<RootKey>, Error> {
    match variable_text("BARTIZAN_ROOT_KEY") {
        None => Ok(None),
        // One that is set and is none must not be taken for none.
        Some(text) => RootKey::parse(&text).map(Some).ok_or(Error::RootMalformed),
    }
}

fn variable_text(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}
