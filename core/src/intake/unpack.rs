//! Unpacks gzip and deflate (RFC 9110, section 8.4.1) up to a limit.

use std::io::{self, ErrorKind, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;

use crate::request::{RequestError, Response};

/// Unpacks an answer, truncated at `bytes_max`.
pub(super) fn unpacked(mut response: Response, bytes_max: usize) -> Result<Response, RequestError> {
    response.body_mut().truncate(bytes_max);
    let Some(encoding) = response.headers_mut().remove(CONTENT_ENCODING) else {
        return Ok(response);
    };
    let encoding = encoding.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    let packed = std::mem::take(response.body_mut());
    let is_cut = packed.len() == bytes_max;
    let body = match encoding.as_str() {
        "" | "identity" => Ok(packed),
        _ if packed.is_empty() => Ok(packed),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(&packed[..]), bytes_max, is_cut),
        // Some servers leave the frame away that the name stands for.
        "deflate" if has_zlib_header(&packed) => {
            read(ZlibDecoder::new(&packed[..]), bytes_max, is_cut)
        }
        "deflate" => read(DeflateDecoder::new(&packed[..]), bytes_max, is_cut),
        _ => Err(io::Error::other("this content-encoding was not asked for")),
    };
    *response.body_mut() = body
        .map_err(|error| RequestError::Broken(format!("the answer cannot be unpacked: {error}")))?;
    Ok(response)
}

/// The output of a decoder, truncated at `bytes_max`. If its input was truncated, it may end
/// early.
fn read(decoder: impl Read, bytes_max: usize, is_cut: bool) -> io::Result<Vec<u8>> {
    let mut body = vec![];
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    match decoder.take(limit).read_to_end(&mut body) {
        Err(error) if !(is_cut && error.kind() == ErrorKind::UnexpectedEof) => Err(error),
        Ok(_) | Err(_) => Ok(body),
    }
}

/// RFC 1950, section 2.2: method 8 and a check over the first two bytes.
fn has_zlib_header(packed: &[u8]) -> bool {
    match packed {
        [first, second, ..] => {
            first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn packed(encoding: &str, body: &[u8]) -> Response {
        let level = Compression::default();
        let mut gzip = GzEncoder::new(vec![], level);
        let mut zlib = ZlibEncoder::new(vec![], level);
        let mut raw = DeflateEncoder::new(vec![], level);
        gzip.write_all(body).unwrap();
        zlib.write_all(body).unwrap();
        raw.write_all(body).unwrap();
        let packed = match encoding {
            "gzip" | "x-gzip" => gzip.finish(),
            "raw" => raw.finish(),
            _ => zlib.finish(),
        };
        let mut response = Response::new(packed.unwrap());
        let name = if encoding == "raw" {
            "deflate"
        } else {
            encoding
        };
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, name.parse().unwrap());
        response
    }

    #[test]
    fn every_form_is_unpacked() {
        for encoding in ["gzip", "x-gzip", "GZIP", "deflate", "raw"] {
            let body = b"[0.25, 0.5]";
            let response = packed(&encoding.to_lowercase(), body);
            let response = unpacked(response, 1000).unwrap();
            assert_eq!(response.body(), body, "{encoding}");
            assert!(!response.headers().contains_key(CONTENT_ENCODING));
        }
    }

    #[test]
    fn a_bomb_unpacks_to_its_bound() {
        let zeros = vec![b'0'; 2_000_000];
        for encoding in ["gzip", "deflate", "raw"] {
            let response = packed(encoding, &zeros);
            assert!(response.body().len() < 100_000);
            let response = unpacked(response, 60_000).unwrap();
            assert_eq!(response.body().len(), 60_000, "{encoding}");
            assert!(response.body().capacity() < 200_000);
        }
    }

    #[test]
    fn what_was_cut_is_unpacked_as_far_as_it_goes_and_what_is_broken_is_no_answer() {
        let numbers: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut response = packed("gzip", &numbers);
        response.body_mut().truncate(1000);
        let cut = unpacked(response.clone(), 1000).unwrap();
        assert!(!cut.body().is_empty() && numbers.starts_with(cut.body()));
        unpacked(response, 1_000_000).unwrap_err();
        let mut response = packed("gzip", b"x");
        *response.body_mut() = b"no gzip at all".to_vec();
        unpacked(response, 1000).unwrap_err();
        let mut response = packed("gzip", b"x");
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, "br".parse().unwrap());
        unpacked(response, 1000).unwrap_err();
    }
}
