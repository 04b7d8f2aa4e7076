//! The pages of the book and the programs made from them (`tests/book/`, compiled and run by `tests/book.rs`) agree.
//!
//! All `rust` blocks of a page, top to bottom, are one program. `rust,alone` is a program of its own that runs where it
//! stands; `rust,ignore` is none. A `toml` or `json` block that begins with `# NAME` is a file that programs can read.
//!
//! This test does not compile the programs, so that it can write them while the ones on disk do not compile.

#[path = "pages/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::env;
use std::fs;

use page::{Page, pages, programs};

const WRITE: &str = "ENCUMBER_BOOK=write cargo test --test pages";

/// What the folder of programs should hold: file name to text.
fn wanted() -> BTreeMap<String, String> {
    let pages = pages();
    let mut files: BTreeMap<_, _> = pages.iter().map(|page| (page.program_file(), page.program())).collect();
    let modules = pages.iter().map(|page| format!("    {} = \"{}\";\n", page.module(), page.name));
    files.insert("list.rs".to_owned(), format!("pages! {{\n{}}}\n", modules.collect::<String>()));
    files
}

#[test]
fn the_programs_are_those_of_the_pages() {
    let folder = programs();
    let wanted = wanted();
    let on_disk: BTreeMap<_, _> = fs::read_dir(&folder)
        .expect("tests/book can be listed")
        .map(|entry| entry.expect("tests/book can be listed").file_name().into_string().expect("a plain name"))
        .map(|name| (name.clone(), fs::read_to_string(folder.join(&name)).expect("a program is text")))
        .collect();

    if env::var_os("ENCUMBER_BOOK").is_some_and(|value| value == "write") {
        for name in on_disk.keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(folder.join(name)).expect("a program can be removed");
        }
        for (name, text) in wanted.iter().filter(|(name, text)| on_disk.get(*name) != Some(text)) {
            fs::write(folder.join(name), text).expect("a program can be written");
        }
        return;
    }
    for (name, text) in &wanted {
        let page = name.replace(".rs", "");
        assert!(
            on_disk.get(name) == Some(text),
            "tests/book/{name} is not what the page {page} of docs/ says. To bring it up to date: {WRITE}"
        );
    }
    for name in on_disk.keys() {
        assert!(wanted.contains_key(name), "tests/book/{name} belongs to no page. To remove it: {WRITE}");
    }
}

fn page_of(text: &str) -> Page {
    Page::read("guides/an-example", text)
}

#[test]
fn the_blocks_of_a_page_are_one_program() {
    let text = "# A page\n\n```rust\nuse a::B;\nlet x = 1;\n```\n\nText.\n\n```text\nnot code\n```\n\n```rust\nB::new(x)?;\n```\n";
    let page = page_of(text);
    assert_eq!(page.module(), "guides_an_example");
    assert_eq!(page.program_file(), "guides_an_example.rs");
    assert_eq!(
        page.program(),
        "// Made from docs/guides/an-example.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.\n\
         pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {\n\
         use a::B;\nlet x = 1;\n\nB::new(x)?;\n\nOk(())\n}\n"
    );
}

#[test]
fn a_block_can_stand_alone_or_be_left_out() {
    let page = page_of("```rust\nlet x = 1;\n```\n```rust,alone\nlet x = 2;\n```\n```rust,ignore\nnot code\n```\n");
    let program = page.program();
    assert!(program.contains("{\nlet x = 1;\n\nalone_1()?;\n\nOk(())\n}\n"), "{program}");
    assert!(program.contains("fn alone_1() -> Result<(), Box<dyn std::error::Error>> {\nlet x = 2;\n\nOk(())\n}\n"));
    assert!(!program.contains("not code"), "{program}");
}

#[test]
fn a_block_with_a_name_is_a_file() {
    let page = page_of("```toml\n# limits.toml\nmax = 1\n```\n```toml\nmax = 2\n```\n");
    assert_eq!(page.files(), [("limits.toml".to_owned(), "# limits.toml\nmax = 1\n".to_owned())]);
    assert!(!page.has_program());
}

#[test]
#[should_panic(expected = "unknown kind of block")]
fn an_unknown_kind_of_block_is_a_mistake() {
    let _ = page_of("```rust,igonre\nnot code\n```\n");
}
