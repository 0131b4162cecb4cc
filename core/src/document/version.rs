//! Versions of documents: what tells one from another, as a server or the file system says it.

use std::time::Duration;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The version of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileVersion {
    /// Its size.
    pub bytes: u64,
    /// The time of its last change, since 1970.
    pub modified: Duration,
}

/// What came of reading a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileRead {
    /// Its bytes, and its version from before they were read.
    Content(Vec<u8>, Option<FileVersion>),
    /// It is the version that is known already.
    Unchanged,
}

/// A longer one is not stored.
const BYTES_MAX: usize = 1024;
/// A file that was changed in this time may be changed once more without another time of its last change.
const UNSETTLED: Duration = Duration::from_secs(2);
const TAG: &str = "etag ";
const TIME: &str = "modified ";
const FILE: &str = "file ";

/// What a server says of the version that it sends: its ETag, or else the time of its last change. A document that was
/// changed in the second in which it was sent may change again in that second, so that time says nothing.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<String> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let version = match (text(&ETAG), text(&LAST_MODIFIED)) {
        (Some(tag), _) => format!("{TAG}{tag}"),
        (None, Some(time)) if text(&DATE) != Some(time) => format!("{TIME}{time}"),
        (None, _) => return None,
    };
    (version.len() <= BYTES_MAX).then_some(version)
}

/// The header that asks for a document only if it is not this version any more (RFC 9110, section 13.1).
pub(crate) fn condition(version: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = if let Some(tag) = version.strip_prefix(TAG) {
        (IF_NONE_MATCH, tag)
    } else {
        (IF_MODIFIED_SINCE, version.strip_prefix(TIME)?)
    };
    Some((name, HeaderValue::try_from(value).ok()?))
}

impl FileVersion {
    /// How it is stored; `None` if it was changed just before. `wall` is the time since 1970.
    pub(crate) fn stored(self, wall: Duration) -> Option<String> {
        let is_settled = wall.saturating_sub(self.modified) >= UNSETTLED;
        let (bytes, nanoseconds) = (self.bytes, self.modified.as_nanos());
        is_settled.then(|| format!("{FILE}{bytes} {nanoseconds}"))
    }

    /// Reads what was [`stored`](Self::stored).
    pub(crate) fn parse(version: &str) -> Option<Self> {
        let (bytes, nanoseconds) = version.strip_prefix(FILE)?.split_once(' ')?;
        let nanoseconds = nanoseconds.parse().ok()?;
        Some(Self {
            bytes: bytes.parse().ok()?,
            modified: Duration::from_nanos(nanoseconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_server_is_asked_with_what_it_said() {
        let day = "Wed, 21 Oct 2015 07:28:00 GMT";
        let later = "Wed, 21 Oct 2015 07:28:01 GMT";
        for (said, asked) in [
            (vec![(ETAG, "\"a\"")], Some((IF_NONE_MATCH, "\"a\""))),
            (
                vec![(ETAG, "W/\"a\""), (LAST_MODIFIED, day)],
                Some((IF_NONE_MATCH, "W/\"a\"")),
            ),
            (vec![(LAST_MODIFIED, day)], Some((IF_MODIFIED_SINCE, day))),
            (
                vec![(LAST_MODIFIED, day), (DATE, later)],
                Some((IF_MODIFIED_SINCE, day)),
            ),
            (vec![(LAST_MODIFIED, day), (DATE, day)], None),
            (vec![], None),
        ] {
            let version = of_headers(&headers(&said));
            let condition = version.as_deref().and_then(condition);
            let asked = asked.map(|(name, value)| (name, HeaderValue::from_static(value)));
            assert_eq!(condition, asked, "{said:?}");
        }
        let long = "x".repeat(2000);
        let mut said = HeaderMap::new();
        said.insert(ETAG, HeaderValue::try_from(long).unwrap());
        assert_eq!(of_headers(&said), None);
    }

    #[test]
    fn a_files_version_is_stored_once_it_is_settled() {
        let modified = Duration::new(1_000, 5);
        let version = FileVersion { bytes: 3, modified };
        let later = modified + UNSETTLED;
        let stored = version.stored(later).unwrap();
        assert_eq!(FileVersion::parse(&stored), Some(version));
        assert_eq!(condition(&stored), None);
        assert_eq!(version.stored(later - Duration::from_nanos(1)), None);
        assert_eq!(version.stored(Duration::ZERO), None);
        assert_eq!(FileVersion::parse("etag \"a\""), None);
    }
}
