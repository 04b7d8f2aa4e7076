//! Who is limited: a kind and an id.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id of a subject, in bytes.
pub const SUBJECT_ID_BYTES_MAX: usize = 256;
/// The longest name of a kind, a resource, a limit or a group, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The kind of the one subject that is in every scope.
pub(crate) const GLOBAL: &str = "global";

/// Who is limited: a kind and an id, written `user:7`, `agent:planner`, or `global` alone.
///
/// The kind is a [name](is_name); the id is any text of 1 to [`SUBJECT_ID_BYTES_MAX`] bytes and may hold separators, quotes,
/// line breaks and any script: it is compared byte by byte, never joined into keys, and escaped wherever it is printed.
/// `global` is the one subject without an id. Cloning is cheap (one reference count).
///
/// ```
/// use encumber::Subject;
/// let subject: Subject = "user:team:7".parse()?;
/// assert_eq!((subject.kind(), subject.id()), ("user", "team:7"));
/// assert_eq!(Subject::new("agent", "планировщик")?.to_string(), "agent:планировщик");
/// assert_eq!("user:".parse::<Subject>().unwrap_err().to_string(), "the id of the user subject is empty");
/// # Ok::<(), encumber::SubjectError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Kind and id around the first `:`; a kind holds none, so equal texts are equal subjects.
    text: Arc<str>,
}

impl Subject {
    /// The subject of `kind` with the id `id`.
    ///
    /// # Errors
    /// When the kind is not a [name](is_name) or is `global`, or the id is empty or longer than [`SUBJECT_ID_BYTES_MAX`].
    pub fn new(kind: &str, id: &str) -> Result<Self, SubjectError> {
        if !is_name(kind) || kind == GLOBAL {
            return Err(SubjectError::Kind(kind.chars().take(NAME_BYTES_MAX).collect()));
        }
        match id.len() {
            0 => Err(SubjectError::EmptyId { kind: kind.into() }),
            1..=SUBJECT_ID_BYTES_MAX => Ok(Self { text: format!("{kind}:{id}").into() }),
            bytes => Err(SubjectError::LongId { kind: kind.into(), bytes }),
        }
    }

    /// The one subject that is in every scope.
    pub fn global() -> Self {
        Self { text: GLOBAL.into() }
    }

    /// The kind, such as `user`.
    pub fn kind(&self) -> &str {
        self.text.split_once(':').map_or(GLOBAL, |(kind, _)| kind)
    }

    /// The id within the kind; empty for `global` alone.
    pub fn id(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, id)| id)
    }

    /// Kind and id as written, `user:7`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A subject is found by its text.
impl Borrow<str> for Subject {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `user:#1f0c…`: the kind and a hash of the id, so that what is logged with `{:?}` names nobody. The hash is stable, to tell that two
/// lines are about the same subject; it is no protection of ids that can be guessed.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // FNV-1a, 64 bits.
        let hash = self
            .id()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        if self.id().is_empty() { f.write_str(GLOBAL) } else { write!(f, "{}:#{hash:016x}", self.kind()) }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    /// Reads `kind:id`, split at the first `:`, or `global`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind, id)) => Self::new(kind, id),
            None if text == GLOBAL => Ok(Self::global()),
            None => Err(SubjectError::NoSeparator(text.chars().take(NAME_BYTES_MAX).collect())),
        }
    }
}

impl TryFrom<&str> for Subject {
    type Error = SubjectError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Subject {
    type Error = SubjectError;

    fn try_from(text: &String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<&Subject> for Subject {
    fn from(subject: &Subject) -> Self {
        subject.clone()
    }
}

/// A subject's text to compare with, in place when it is as short as most: `session:` and a UUID.
pub(crate) enum Name {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Box<[u8]>),
}

const SHORT_MAX: usize = 46;

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.as_bytes().into()),
        }
    }

    /// The text.
    #[cfg(feature = "persist")]
    pub(crate) fn as_str(&self) -> &str {
        let bytes = match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        };
        // Made of a text.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn is(&self, text: &str) -> bool {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)) == Some(text.as_bytes()),
            Self::Long(bytes) => **bytes == *text.as_bytes(),
        }
    }
}

/// Logs name nobody.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name").finish_non_exhaustive()
    }
}

/// A text that is not a subject, with what is wrong about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectError {
    /// No `:` between kind and id.
    NoSeparator(Box<str>),
    /// The kind is not a [name](is_name), or is `global` with an id.
    Kind(Box<str>),
    /// The id is empty.
    EmptyId {
        /// The kind whose id is missing.
        kind: Box<str>,
    },
    /// The id is longer than [`SUBJECT_ID_BYTES_MAX`].
    LongId {
        /// The kind of the subject.
        kind: Box<str>,
        /// How long the id is.
        bytes: usize,
    },
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSeparator(text) => write!(f, "{text:?} is not a subject: write kind:id, such as \"user:7\""),
            Self::Kind(kind) if &**kind == GLOBAL => f.write_str("`global` is one subject and takes no id"),
            Self::Kind(kind) => write!(f, "{kind:?} is not a kind of subject: {NAME_RULE}"),
            Self::EmptyId { kind } => write!(f, "the id of the {kind} subject is empty"),
            Self::LongId { kind, bytes } => {
                write!(f, "the id of the {kind} subject has {bytes} bytes, more than {SUBJECT_ID_BYTES_MAX}")
            }
        }
    }
}

impl std::error::Error for SubjectError {}

/// What a name may be, for error messages.
pub(crate) const NAME_RULE: &str = "a name is 1 to 64 of the characters a-z A-Z 0-9 _ - .";

/// Whether `text` can name a kind, a resource, a limit or a group: 1 to [`NAME_BYTES_MAX`] ASCII letters, digits, `_`, `-`, `.`.
///
/// Names end up in headers, metrics and logs, so they are kept plain; ids of subjects are not restricted so.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_every_byte_and_stay_distinct() {
        for id in ["a\"b", "nul\0x", "line\nbreak", "ключ-🔑", "u:2026-04-03", "{\"nested\":true}", &"x".repeat(256)]
        {
            let subject = Subject::new("agent", id).expect(id);
            assert_eq!((subject.kind(), subject.id()), ("agent", id));
            assert_eq!(subject.as_str().parse(), Ok(subject.clone()));
            assert!(!format!("{subject:?}").contains(id), "logs name nobody");
        }
        assert_ne!("user:a:b".parse::<Subject>(), "user:a".parse());
    }

    #[test]
    fn a_name_is_its_text_alone_and_shows_it_to_nobody() {
        for length in [0, 1, SHORT_MAX - 1, SHORT_MAX, SHORT_MAX + 1, 261] {
            let text = "x".repeat(length);
            let name = Name::new(&text);
            assert!(name.is(&text) && !name.is(&format!("{text}x")) && !name.is("y"), "{length}");
            assert!(length == 0 || !name.is(&text[1..]) && !format!("{name:?}").contains('x'), "{length}");
        }
    }

    #[test]
    fn bad_subjects_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Subject>().unwrap_err().to_string();
        assert!(error("user").contains("kind:id"));
        assert!(error(":7").contains("is not a kind"));
        assert!(error("us er:7").contains("is not a kind"));
        assert!(error("global:1").contains("takes no id"));
        assert!(error(&format!("user:{}", "x".repeat(257))).contains("257 bytes"));
    }
}
