//! Versions of the packages that this program was built with, from the lock file itself.

/// The lock file that this was built with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The version that this package depends on directly; a package may stand in the lock file several times.
pub(crate) fn version(package: &str) -> Option<&'static str> {
    let ours = blocks().find(|block| field(block, "name") == Some(env!("CARGO_PKG_NAME")))?;
    let (_, dependencies) = ours.split_once("dependencies = [")?;
    // "name", or "name version" where the name alone would not do.
    let named = dependencies.split('"').skip(1).step_by(2).find(|text| text.split(' ').next() == Some(package))?;
    match named.split_once(' ') {
        Some((_, version)) => Some(version),
        None => blocks().find(|block| field(block, "name") == Some(package)).and_then(|block| field(block, "version")),
    }
}

fn blocks() -> impl Iterator<Item = &'static str> {
    LOCK.split("[[package]]").skip(1)
}

fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
    line.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;
    use crate::contenders;

    /// What cargo says of the resolved packages is what is printed.
    #[test]
    fn every_peers_version_is_the_one_it_was_built_with() {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "-p", env!("CARGO_PKG_NAME"), "--depth", "1", "--prefix", "none"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        let tree = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let packages: BTreeSet<&str> = contenders::all().iter().filter_map(|spec| spec.package).collect();
        assert!(packages.len() > 8, "{packages:?}");
        for package in packages.into_iter().filter(|package| *package != contenders::REDIS) {
            let version = version(package).unwrap_or_else(|| panic!("{package} is not in the lock file"));
            let line = format!("{package} v{version}");
            assert!(tree.lines().any(|found| found.starts_with(&line)), "{line} is not in:\n{tree}");
        }
    }

    #[test]
    fn a_package_that_is_there_twice_is_the_one_depended_on() {
        assert!(version("dashmap").is_some_and(|version| version.starts_with("6.")), "{:?}", version("dashmap"));
        assert_eq!(version("no-such-package"), None);
    }
}
