//! The data that the repository brings along.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Where a file of the repository's `data` folder stands.
///
/// # Panics
/// When it is not there: the package that is published leaves `data` out, and these tests run in the repository alone.
pub(crate) fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    let is_packaged = !Path::new(env!("CARGO_MANIFEST_DIR")).join("data").exists();
    assert!(!is_packaged, "there is no folder `data`: the published package leaves it out, run this in the repository");
    assert!(path.exists(), "{} is missing from the repository", path.display());
    path
}

/// The text of a file, which is gzip'd where its name says so.
pub(crate) fn text(name: &str) -> String {
    let mut file = File::open(path(name)).expect("readable");
    let mut text = String::new();
    let read = if Path::new(name).extension().is_some_and(|ext| ext == "gz") {
        GzDecoder::new(file).read_to_string(&mut text)
    } else {
        file.read_to_string(&mut text)
    };
    read.unwrap_or_else(|error| panic!("{name}: {error}"));
    text
}
