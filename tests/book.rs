//! The code of the book runs: one module for each page of `docs/`, made from its blocks as `tests/pages.rs` tells.

#[path = "pages/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use encumber::Policy;
use page::all_pages;

/// For each page a module with its program, and a test that runs it. The programs are included, not modules of their
/// own files, so that rustfmt leaves them as the page has them.
macro_rules! pages {
    ($($module:ident = $name:literal;)*) => {
        $(
            // A page shows what is there: not all of it is used, and some of it is longer than clippy likes.
            #[allow(clippy::pedantic)]
            mod $module {
                include!(concat!(stringify!($module), ".rs")); // beside the list

                #[test]
                fn runs() {
                    super::go_to_the_files();
                    if let Err(error) = page() {
                        panic!("the program of docs/{}.md failed: {error}", $name);
                    }
                }
            }
        )*
    };
}

include!("book/list.rs");

/// Programs find the files that pages show in the folder in which they run. It is one for all pages.
fn go_to_the_files() {
    static THERE: OnceLock<()> = OnceLock::new();
    THERE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mut shown_by = BTreeMap::new();
        for page in all_pages() {
            for (name, text) in page.files() {
                fs::write(folder.join(&name), text).expect("a file can be written");
                if let Some(other) = shown_by.insert(name.clone(), page.name.clone()) {
                    panic!("docs/{}.md and docs/{other}.md both show a file {name}", page.name);
                }
            }
        }
        env::set_current_dir(&folder).expect("the folder is there");
    });
}

#[test]
fn the_policies_on_the_pages_are_policies() {
    let mut read = 0;
    for page in all_pages() {
        let toml = page.others("toml").filter(|block| block.contains("[resources]")).map(Policy::from_toml);
        let json = page.others("json").filter(|block| block.contains("\"resources\"")).map(Policy::from_json);
        for policy in toml.chain(json) {
            read += 1;
            if let Err(error) = policy {
                panic!("a policy on docs/{}.md: {error}", page.name);
            }
        }
    }
    assert!(read > 2, "the policies were not found");
}
