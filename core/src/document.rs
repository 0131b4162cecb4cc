//! Documents: files in a column or behind an address, which become text before they are chunked.

mod docling;
mod parsed;
mod version;

use std::fmt::{self, Write as _};

use http::Uri;

use crate::address::{check_name, check_public};
use crate::cut::cut;
use crate::packing::Packing;
use crate::settings::DocumentSettings;
use crate::store::Object;
pub(crate) use docling::{DoclingServe, NotConverted};
pub use parsed::{Parsed, Parts};
pub use version::{FileRead, FileVersion};
pub(crate) use version::{condition, of_headers};

/// A document to be turned into text.
#[derive(Clone)]
pub struct Document {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its address, whose end may say what it is.
    pub name: Option<String>,
    /// The Content-Type that a server gave it.
    pub content_type: Option<String>,
}

/// Does not print the file.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.bytes.len())
            .field("name", &self.name)
            .field("content_type", &self.content_type)
            .finish()
    }
}

/// Why a document gave no text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DocumentError {
    /// The document is at fault: it would fail again.
    Document(String),
    /// This machine is: it makes sense to try again.
    Machine(String),
}

/// A file to be read, below a directory that the operator has named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileRequest {
    /// The directory: nothing outside of it is read, links included.
    pub directory: String,
    /// The path of the file: relative to the directory, or absolute.
    pub path: String,
    /// A file with more bytes is refused.
    pub bytes_max: usize,
    /// How it is packed, as its name says.
    pub packing: Option<Packing>,
    /// The version that need not be read again.
    pub known: Option<FileVersion>,
}

impl FileRequest {
    /// Unpacks the file that was read, if it is packed.
    ///
    /// # Errors
    /// If it is damaged, or too large.
    pub fn unpacked(&self, bytes: Vec<u8>) -> Result<Vec<u8>, FileError> {
        let Some(packing) = self.packing else {
            return Ok(bytes);
        };
        let unpacked = packing.unpacked(bytes, self.bytes_max.saturating_add(1));
        let unpacked = unpacked.map_err(|error| {
            FileError::Refused(format!("the document cannot be unpacked: {error}"))
        })?;
        match unpacked.len() <= self.bytes_max {
            true => Ok(unpacked),
            false => Err(FileError::Refused(too_large(self.bytes_max))),
        }
    }
}

/// What to say of a document with more bytes than are allowed.
pub(crate) fn too_large(bytes_max: usize) -> String {
    format!(
        "the document has more than {bytes_max} bytes: let the worker's operator raise --max-document-size"
    )
}

/// Why a file was not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileError {
    /// It may not be read, or it is not there, or it is too large: the reason.
    Refused(String),
    /// The system failed: it makes sense to try again.
    Failed(String),
}

/// How rows become documents, and these text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The column has the files.
    Bytes,
    /// The column has their addresses.
    Address {
        /// The role of AWS with which S3 is read.
        role: Option<String>,
    },
}

/// Where an address leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// To a file of this machine, with this path.
    File(String),
    /// To an object store.
    Store(Object),
    /// To another server.
    Web {
        url: Uri,
        /// Whether only addresses of the public internet may be asked.
        is_public: bool,
    },
}

impl Place {
    /// Reads an address of a row.
    ///
    /// # Errors
    /// If it may not be loaded, or is of a kind that is not supported: what to do.
    pub(crate) fn parse(
        address: &str,
        role: Option<&str>,
        settings: &DocumentSettings,
    ) -> Result<Self, String> {
        let address = address.trim();
        if let Some(path) = address.strip_prefix("file://") {
            // A host, if there is one, is this machine.
            let path = path.strip_prefix("localhost").unwrap_or(path);
            return match path.starts_with('/') {
                true => decoded(path).map(Self::File),
                false => Err("a file's address is file:/// and its absolute path".to_owned()),
            };
        }
        let Some((scheme, rest)) = address.split_once("://") else {
            return match address {
                "" => Err("the address is empty".to_owned()),
                path => Ok(Self::File(path.to_owned())),
            };
        };
        let scheme = scheme.to_ascii_lowercase();
        if is_web(&scheme) {
            return web(address, &settings.allowed);
        }
        match Object::parse(&scheme, rest, role, settings) {
            Some(object) => object.map(Self::Store),
            None => Err(format!(
                "this worker does not load from {scheme}://: it loads https://, s3://, gs://, az:// and files of \
                 this machine (file:///…, or a path below --documents-dir)",
                scheme = cut(&scheme)
            )),
        }
    }

    /// The place to which a server redirects.
    ///
    /// # Errors
    /// If it may not be loaded.
    pub(crate) fn redirected(from: &Uri, to: &str, allowed: &[String]) -> Result<Self, String> {
        let scheme = from.scheme_str().unwrap_or("https");
        let authority = from.authority().map_or("", |authority| authority.as_str());
        let path = from.path();
        let directory = path.rfind('/').map_or("/", |end| &path[..=end]);
        let url = match to {
            _ if to.contains("://") => to.to_owned(),
            _ if to.starts_with("//") => format!("{scheme}:{to}"),
            _ if to.starts_with('/') => format!("{scheme}://{authority}{to}"),
            _ if to.starts_with('?') => format!("{scheme}://{authority}{path}{to}"),
            _ => format!("{scheme}://{authority}{directory}{to}"),
        };
        match url.split_once("://") {
            Some((scheme, _)) if is_web(&scheme.to_ascii_lowercase()) => web(&url, allowed),
            _ => Err("the server redirects to an address that is not of the web".to_owned()),
        }
    }
}

fn is_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

/// Checks a URL of the web.
fn web(address: &str, allowed: &[String]) -> Result<Place, String> {
    // A fragment is not sent to servers.
    let address = address.split('#').next().unwrap_or_default();
    let url: Uri = encoded(address)
        .parse()
        .map_err(|_| "the address is no URL".to_owned())?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("the URL must not contain a user or a password".to_owned());
    }
    let host = url.host().filter(|host| !host.is_empty());
    let host = host.ok_or("the URL names no host")?;
    // Nobody loads from a metadata service.
    check_name(host)?;
    if allowed.iter().any(|pattern| allows(pattern, &url)) {
        let is_public = false;
        return Ok(Place::Web { url, is_public });
    }
    if url.scheme_str() != Some("https") {
        return Err(format!(
            "http:// is not loaded from {}: use https://, or let the worker's operator allow the place with \
             --allow-uri",
            cut(host)
        ));
    }
    check_public(host)?;
    let is_public = true;
    Ok(Place::Web { url, is_public })
}

/// Encodes what people write in URLs and may not stand there.
fn encoded(url: &str) -> String {
    let mut encoded = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'!'..=b'~'
                if !matches!(
                    byte,
                    b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
                ) =>
            {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// Whether a pattern of the operator allows a URL. `*` stands for any characters, but not for the end of the host: what
/// stands in a path must not look like an allowed host. A pattern without a path allows all paths; `*` alone allows all
/// URLs.
fn allows(pattern: &str, url: &Uri) -> bool {
    let Some((scheme, rest)) = pattern.split_once("://") else {
        return pattern == "*";
    };
    let (authority, path) = match rest.find('/') {
        Some(end) => rest.split_at(end),
        None => (rest, "/*"),
    };
    let host = url.authority().map_or("", |authority| authority.as_str());
    let asked = url.path_and_query().map_or("/", |path| path.as_str());
    // Programs on the way resolve such parts, and the path would be another one.
    let is_dots = |part: &str| {
        matches!(
            part.to_ascii_lowercase().replace("%2e", ".").as_str(),
            "." | ".."
        )
    };
    let climbs = path != "/*" && url.path().split('/').any(is_dots);
    !climbs
        && matches(scheme, url.scheme_str().unwrap_or_default())
        && matches(&authority.to_ascii_lowercase(), &host.to_ascii_lowercase())
        && matches(path, asked)
}

/// Whether a text matches a pattern, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Resolves the percent-encoding of a path.
fn decoded(path: &str) -> Result<String, String> {
    let mut bytes = vec![];
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits =
            [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'?')).to_digit(16));
        let [Some(high), Some(low)] = digits else {
            return Err("a % in the address is not followed by two hexadecimal digits".to_owned());
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| "the path is not UTF-8".to_owned())
}

/// A bytea in the form of PostgreSQL's `encode(…, 'base64')`, which breaks lines.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let text: Vec<u8> = text.bytes().filter(|byte| *byte != b'\n').collect();
    STANDARD.decode(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<Place, String> {
        let settings = DocumentSettings {
            allowed: vec!["http://minio:9000/*".to_owned()],
            ..DocumentSettings::default()
        };
        Place::parse(address, None, &settings)
    }

    #[test]
    fn addresses_lead_to_files() {
        let file = |path: &str| Ok(Place::File(path.to_owned()));
        assert_eq!(parse("file:///a/b%20c.pdf"), file("/a/b c.pdf"));
        assert_eq!(parse("file://localhost/a"), file("/a"));
        assert_eq!(parse(" reports/a.pdf\n"), file("reports/a.pdf"));
        for wrong in [
            "file://a/b",
            "file:///a%2",
            "file:///a%zz",
            "file:///%ff",
            "ftp://a/b",
            "",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_the_web_only_public_hosts_and_allowed_places_are_loaded() {
        for (address, loaded) in [
            (
                "https://a.example/b c.pdf?x=ü#page=2",
                Some(("https://a.example/b%20c.pdf?x=%C3%BC", true)),
            ),
            (
                "http://minio:9000/bucket/a.pdf",
                Some(("http://minio:9000/bucket/a.pdf", false)),
            ),
            ("http://minio:9001/bucket/a.pdf", None),
            ("http://a.example/", None),
            ("https://10.0.0.1/", None),
            ("https://[::1]/", None),
            ("https://127.1/", None),
            ("https://169.254.169.254/latest", None),
            ("https://user:pw@a.example/", None),
            ("https:///a", None),
            ("HTTPS://a.example/", Some(("https://a.example/", true))),
            // A path that looks like an allowed host is none.
            ("http://10.0.0.5/minio:9000/a", None),
            ("http://10.0.0.5?http://minio:9000/a", None),
            ("http://minio:9000@10.0.0.5/a", None),
            ("http://10.0.0.5\\@minio:9000/a", None),
            ("http://MINIO:9000/a", Some(("http://MINIO:9000/a", false))),
        ] {
            let place = loaded.map(|(url, is_public)| Place::Web {
                url: url.parse().unwrap(),
                is_public,
            });
            assert_eq!(parse(address).ok(), place, "{address}");
        }
    }

    #[test]
    fn redirects_lead_no_further_than_rows() {
        let from: Uri = "https://a.example/d/e?f".parse().unwrap();
        for (to, url) in [
            ("https://b.example/x", Some("https://b.example/x")),
            ("//b.example/x", Some("https://b.example/x")),
            ("/x", Some("https://a.example/x")),
            ("x", Some("https://a.example/d/x")),
            ("?y", Some("https://a.example/d/e?y")),
            ("http://b.example/x", None),
            ("https://192.168.0.1/x", None),
            ("file:///etc/passwd", None),
        ] {
            let place = url.map(|url| Place::Web {
                url: url.parse().unwrap(),
                is_public: true,
            });
            assert_eq!(Place::redirected(&from, to, &[]).ok(), place, "{to}");
        }
    }

    #[test]
    fn a_pattern_allows_hosts_and_paths_apart() {
        for (pattern, url, is_allowed) in [
            ("http://a/*", "http://a/b", true),
            ("http://a/*", "http://ab/b", false),
            ("http://a", "http://a/b?c", true),
            ("http://a", "https://a/b", false),
            ("http://*.corp/*", "http://x.corp/y", true),
            ("http://*.corp/*", "http://x.com/y", false),
            ("http://*.corp/*", "http://10.0.0.5/x.corp/y", false),
            ("http://*.corp", "http://10.0.0.5/?.corp", false),
            ("http://a/b", "http://a/bc", false),
            ("http://a/*.pdf", "http://a/b.pdf.exe", false),
            ("http://a/open/*", "http://a/open/../secret", false),
            ("http://a/open/*", "http://a/open/.%2E/secret", false),
            ("http://a/open/*", "http://a/open/..a", true),
            ("http://a/*", "http://a/b/../c", true),
            ("*", "http://a/bc", true),
            ("*.pdf", "http://a/b.pdf", false),
        ] {
            let url: Uri = url.parse().unwrap();
            assert_eq!(allows(pattern, &url), is_allowed, "{pattern} {url}");
        }
    }

    #[test]
    fn files_come_in_lines() {
        assert_eq!(from_base64("aGVs\nbG8="), Ok(b"hello".to_vec()));
        assert!(from_base64("?").is_err());
    }
}
