//! The one way for text into the page.

use std::fmt::{self, Write};

/// `text` made safe for element content, for quoted attributes and for SVG text alike.
///
/// The five characters that mean something to an HTML parser become references. Characters that do not show,
/// or that turn the text around them, become visible by their number, as `[U+202E]`.
pub(super) fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// Text that escapes itself while it is written: see [`escape`].
pub(super) struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char if hides(char) => write!(f, "[U+{:04X}]", u32::from(char))?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// At most `max` characters of `text`, the last of them an ellipsis if some are missing. Not escaped yet.
pub(super) fn elide(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Controls, bidi marks, and what is invisible: joiners, separators, fillers, tags, noncharacters.
fn hides(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{FFFE}' | '\u{FFFF}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(
            escape(r#"<script>alert("1")</script>&'"#).to_string(),
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;"
        );
        assert_eq!(escape("</title>]]>--><!--").to_string(), "&lt;/title&gt;]]&gt;--&gt;&lt;!--");
        assert_eq!(escape("&lt;").to_string(), "&amp;lt;", "what is escaped already stays as it was written");
    }

    #[test]
    fn what_does_not_show_is_named() {
        assert_eq!(
            escape("a\0b\r\n\tc\u{7f}\u{9b}").to_string(),
            "a[U+0000]b[U+000D][U+000A][U+0009]c[U+007F][U+009B]"
        );
        assert_eq!(escape("ab\u{202E}cd\u{2066}").to_string(), "ab[U+202E]cd[U+2066]");
        assert_eq!(escape("\u{200B}\u{FEFF}\u{E0041}").to_string(), "[U+200B][U+FEFF][U+E0041]");
        for mark in
            "\u{61C}\u{200E}\u{200F}\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}".chars()
        {
            assert_eq!(escape(&mark.to_string()).to_string(), format!("[U+{:04X}]", u32::from(mark)));
        }
    }

    #[test]
    fn other_scripts_stay_readable() {
        for text in ["Zoë", "開発者", "مطور", "dev-1/🛠", "naïve café"] {
            assert_eq!(escape(text).to_string(), text);
        }
    }

    #[test]
    fn no_character_leaves_markup_behind() {
        for char in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = escape(char.encode_utf8(&mut [0; 4])).to_string();
            assert!(!text.contains(['<', '>', '"', '\'']), "U+{:04X}: {text}", u32::from(char));
            assert!(!text.chars().any(char::is_control), "U+{:04X}", u32::from(char));
        }
    }

    #[test]
    fn eliding_counts_characters() {
        assert_eq!(elide("団体の一日", 5), "団体の一日");
        assert_eq!(elide("団体の一日", 4), "団体の…");
        assert_eq!(elide("", 3), "");
        assert_eq!(elide("ab", 0), "…");
    }
}
