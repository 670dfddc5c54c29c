//! Where the process keeps its data.

use std::path::Path;

use bartizan_store::{DataDir, DataDirChoice, Error, data_dir::is_root};

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
    DataDir::open(&choice.resolve()?)
}
