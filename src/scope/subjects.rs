//! The subjects of a scope, and the groups that the host says they are in.

use crate::subject::{Subject, SubjectError};

/// The subjects of a scope, with the groups that the host says they are in.
///
/// ```
/// use encumber::Subjects;
/// let subjects = Subjects::new().with("agent:planner")?.in_groups("user:7", ["heavy", "berlin"])?;
/// # Ok::<(), encumber::SubjectError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// Each subject once, sorted, `global` among them.
    pub(super) members: Vec<(Subject, Vec<Box<str>>)>,
}

impl Subjects {
    /// `global` alone.
    pub fn new() -> Self {
        Self { members: vec![(Subject::global(), Vec::new())] }
    }

    /// `global` and `subjects`, in no groups.
    pub(crate) fn of<S>(subjects: impl IntoIterator<Item = S>) -> Result<Self, SubjectError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        subjects.into_iter().try_fold(Self::new(), Self::with)
    }

    /// With the subjects of `others`, in their groups.
    pub(crate) fn and(mut self, others: &Self) -> Self {
        for (subject, groups) in &others.members {
            match self.members.binary_search_by(|(member, _)| member.cmp(subject)) {
                Ok(index) => {
                    let mine = &mut self.members[index].1;
                    let new: Vec<_> = groups.iter().filter(|group| !mine.contains(group)).cloned().collect();
                    mine.extend(new);
                }
                Err(index) => self.members.insert(index, (subject.clone(), groups.clone())),
            }
        }
        self
    }

    /// The subjects, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subject> {
        self.members.iter().map(|(member, _)| member)
    }

    /// The subjects, sorted, each with its groups.
    #[cfg(feature = "persist")]
    pub(crate) fn with_groups(&self) -> impl Iterator<Item = (&Subject, &[Box<str>])> {
        self.members.iter().map(|(member, groups)| (member, &**groups))
    }

    /// With one more subject; naming one twice counts once.
    ///
    /// # Errors
    /// When the text is not a subject.
    pub fn with<S>(self, subject: S) -> Result<Self, SubjectError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        self.in_groups(subject, [])
    }

    /// With one more subject that is in `groups` (besides those that the policy puts it in). Groups that the policy does not name have
    /// no effect.
    ///
    /// # Errors
    /// When the text is not a subject.
    pub fn in_groups<'a, S>(
        mut self,
        subject: S,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SubjectError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        let subject = subject.try_into().map_err(Into::into)?;
        let index = match self.members.binary_search_by(|(member, _)| member.cmp(&subject)) {
            Ok(index) => index,
            Err(index) => {
                self.members.insert(index, (subject, Vec::new()));
                index
            }
        };
        self.members[index].1.extend(groups.into_iter().map(Into::into));
        Ok(self)
    }
}

impl Default for Subjects {
    fn default() -> Self {
        Self::new()
    }
}
