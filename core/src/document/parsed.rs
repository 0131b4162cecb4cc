//! What a document became.

/// A document as text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parsed {
    /// Markdown.
    pub text: String,
    /// What else is known of it.
    pub parts: Parts,
}

/// What is known of a text that was a document.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    /// Its title: from its properties, or its first heading.
    pub title: Option<String>,
    /// The beginnings of its pages: the number of each, from 1, and the byte of the text at which it
    /// begins, in this order. Empty if it has no pages.
    pub pages: Vec<(u32, usize)>,
}

impl Parts {
    /// The page that this place of the text is on.
    pub(crate) fn page(&self, at: usize) -> Option<u32> {
        let before = self.pages.partition_point(|(_, start)| *start <= at);
        let page = self.pages.get(before.saturating_sub(1));
        page.map(|(number, _)| *number)
    }

    /// The size of it in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let title = self.title.as_ref().map_or(0, String::len);
        title + self.pages.len() * size_of::<(u32, usize)>()
    }
}
