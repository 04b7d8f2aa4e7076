//! A page of the book: its blocks, and the program and the files that they make.

#![allow(dead_code, reason = "the two tests that share this file ask for different things")]

use std::fs;
use std::path::{Path, PathBuf};

/// Kinds of blocks beside those of `rust` that a page may have.
const OTHER: &[&str] = &["", "toml", "json", "sh", "text", "http"];

enum Kind {
    Rust,
    Alone,
    Other(String),
}

pub(crate) struct Page {
    /// Its path below `docs/`, without `.md`.
    pub(crate) name: String,
    blocks: Vec<(Kind, String)>,
}

/// All pages with programs, by name.
pub(crate) fn pages() -> Vec<Page> {
    all_pages().into_iter().filter(Page::has_program).collect()
}

pub(crate) fn all_pages() -> Vec<Page> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut found = Vec::new();
    for folder in ["", "guides/"] {
        for entry in fs::read_dir(docs.join(folder)).expect("docs can be listed") {
            let path = entry.expect("docs can be listed").path();
            if path.extension().is_some_and(|ext| ext == "md") {
                let stem = path.file_stem().expect("a page has a name").to_string_lossy();
                let text = fs::read_to_string(&path).expect("a page is text");
                found.push(Page::read(&format!("{folder}{stem}"), &text));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 5, "the pages were not found");
    found
}

/// The folder of programs.
pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/book")
}

impl Page {
    /// # Panics
    ///
    /// Where a block is of no known kind, or has no end.
    pub(crate) fn read(name: &str, text: &str) -> Self {
        let mut blocks = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(info) = line.strip_prefix("```") else { continue };
            let kind = match info {
                "rust" => Kind::Rust,
                "rust,alone" => Kind::Alone,
                "rust,ignore" => Kind::Other(String::new()),
                other if OTHER.contains(&other) => Kind::Other(other.to_owned()),
                _ => panic!("docs/{name}.md: unknown kind of block: {info}"),
            };
            let mut block = String::new();
            loop {
                let line = lines.next().unwrap_or_else(|| panic!("docs/{name}.md: a block of {info} has no end"));
                if line == "```" {
                    break;
                }
                block.push_str(line);
                block.push('\n');
            }
            blocks.push((kind, block));
        }
        Self { name: name.to_owned(), blocks }
    }

    pub(crate) fn has_program(&self) -> bool {
        self.blocks.iter().any(|(kind, _)| matches!(kind, Kind::Rust | Kind::Alone))
    }

    pub(crate) fn module(&self) -> String {
        self.name.replace(['/', '-'], "_")
    }

    pub(crate) fn program_file(&self) -> String {
        format!("{}.rs", self.module())
    }

    /// The text of the file whose function `page` is the page's program.
    pub(crate) fn program(&self) -> String {
        let mut body = String::new();
        let mut alone = String::new();
        let mut count = 0;
        for (kind, block) in &self.blocks {
            match kind {
                Kind::Rust => body.push_str(block),
                Kind::Alone => {
                    count += 1;
                    let name = format!("alone_{count}");
                    body.extend([&name, "()?;\n"]);
                    alone += "\n";
                    alone += &function(&name, "", &format!("{block}\n"));
                }
                Kind::Other(_) => continue,
            }
            body.push('\n');
        }
        format!(
            "// Made from docs/{}.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.\n{}{alone}",
            self.name,
            function("page", "pub(crate) ", &body)
        )
    }

    /// The blocks that are files: name and text.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let named = |block: &str| {
            let name = block.lines().next()?.strip_prefix("# ")?;
            let stem = name.strip_suffix(".toml")?;
            (!stem.contains(['/', ' '])).then(|| name.to_owned())
        };
        self.others("toml").filter_map(|block| Some((named(block)?, block.to_owned()))).collect()
    }

    /// The blocks of another language than Rust.
    pub(crate) fn others(&self, language: &str) -> impl Iterator<Item = &str> {
        self.blocks.iter().filter_map(move |(kind, block)| match kind {
            Kind::Other(kind) if kind == language => Some(block.as_str()),
            _ => None,
        })
    }
}

fn function(name: &str, visible: &str, body: &str) -> String {
    format!("{visible}fn {name}() -> Result<(), Box<dyn std::error::Error>> {{\n{body}Ok(())\n}}\n")
}
