//! Python's objects, and what `str()` and `repr()` make of them.

use super::super::unicode::{UNPRINTABLE, holds};

/// A Python object, as far as templates can show one.
#[derive(Clone, Debug)]
pub(super) enum Python {
    Bool(bool),
    Bytes(Vec<u8>),
    /// Keys are texts, in the order of their first appearance.
    Dict(Vec<(Self, Self)>),
    List(Vec<Self>),
    None,
    /// An object whose `str` and `repr` are the same.
    Number(String),
    /// An object of some class.
    Object {
        text: String,
        repr: String,
    },
    /// A text with code points that Rust's texts cannot have.
    Surrogates(Vec<u32>),
    Text(String),
}

impl Python {
    /// What `str()` gives; `None` where PostgreSQL could not store that.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Number(text) | Self::Object { text, .. } => Some(text),
            Self::Surrogates(_) => None,
            Self::Text(text) => (!text.contains('\0')).then_some(text),
            Self::Bool(_) | Self::Bytes(_) | Self::Dict(_) | Self::List(_) | Self::None => {
                Some(self.repr())
            }
        }
    }

    /// What `repr()` gives.
    pub(super) fn repr(&self) -> String {
        let mut out = String::new();
        self.write_repr(&mut out);
        out
    }

    /// Recurses as deep as lists are nested, which the loaders bound.
    fn write_repr(&self, out: &mut String) {
        match self {
            Self::Bool(true) => out.push_str("True"),
            Self::Bool(false) => out.push_str("False"),
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::Dict(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    key.write_repr(out);
                    out.push_str(": ");
                    value.write_repr(out);
                }
                out.push('}');
            }
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    item.write_repr(out);
                }
                out.push(']');
            }
            Self::None => out.push_str("None"),
            Self::Number(repr) | Self::Object { repr, .. } => out.push_str(repr),
            Self::Surrogates(codes) => write_text(codes.iter().copied(), out),
            Self::Text(text) => write_text(text.chars().map(u32::from), out),
        }
    }
}

/// Returns the quote that Python takes: the double one only if that saves escapes.
fn quote(mut codes: impl Iterator<Item = u32> + Clone) -> char {
    let has_single = codes.clone().any(|code| code == 0x27);
    if has_single && !codes.any(|code| code == 0x22) {
        '"'
    } else {
        '\''
    }
}

fn write_text(codes: impl Iterator<Item = u32> + Clone, out: &mut String) {
    let quote = quote(codes.clone());
    out.push(quote);
    for code in codes {
        match char::from_u32(code) {
            Some(character) if character.is_ascii() => write_ascii(code, quote, out),
            Some(character) if !holds(UNPRINTABLE, code) => out.push(character),
            _ if code < 0x100 => out.push_str(&format!("\\x{code:02x}")),
            _ if code < 0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out.push(quote);
}

fn write_bytes(bytes: &[u8], out: &mut String) {
    let quote = quote(bytes.iter().map(|&byte| u32::from(byte)));
    out.push('b');
    out.push(quote);
    for &byte in bytes {
        write_ascii(u32::from(byte), quote, out);
    }
    out.push(quote);
}

/// Writes what is escaped the same way in texts and in bytes.
fn write_ascii(code: u32, quote: char, out: &mut String) {
    match char::from_u32(code) {
        Some('\n') => out.push_str("\\n"),
        Some('\r') => out.push_str("\\r"),
        Some('\t') => out.push_str("\\t"),
        Some(character) if character == '\\' || character == quote => {
            out.extend(['\\', character]);
        }
        Some(character @ ' '..='~') => out.push(character),
        _ => out.push_str(&format!("\\x{code:02x}")),
    }
}

/// Loads a `bytea` in hex.
pub(super) fn bytes(value: &str) -> Option<Python> {
    let digits = value.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(Python::Bytes)
}

/// Loads a `float4` or `float8`, and the numbers with a fraction in JSON.
pub(super) fn float(value: &str) -> Option<Python> {
    let number: f64 = value.parse().ok()?;
    if !number.is_finite() {
        let sign = if number.is_sign_negative() && !number.is_nan() {
            "-"
        } else {
            ""
        };
        let name = if number.is_nan() { "nan" } else { "inf" };
        return Some(Python::Number(format!("{sign}{name}")));
    }
    let scientific = shortest(number);
    let (digits, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if (-4..16).contains(&exponent) {
        let plain = in_full(digits, exponent);
        let fraction = if plain.contains('.') { "" } else { ".0" };
        return Some(Python::Number(plain + fraction));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    Some(Python::Number(format!(
        "{digits}e{sign}{:02}",
        exponent.unsigned_abs()
    )))
}

/// Writes the fewest digits that read back as the number, with an exponent. Of two that are equally
/// near Python takes the even one, Rust the larger one.
fn shortest(number: f64) -> String {
    let shortest = format!("{number:e}");
    let mantissa = shortest.split('e').next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let nearest = format!("{number:.*e}", digits - 1);
    if nearest.parse() == Ok(number) {
        nearest
    } else {
        shortest
    }
}

/// Writes `1.25` and an exponent of -2 as `0.0125`.
fn in_full(mantissa: &str, exponent: i32) -> String {
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    match usize::try_from(exponent) {
        Ok(whole) if digits.len() > whole + 1 => {
            format!("{sign}{}.{}", &digits[..=whole], &digits[whole + 1..])
        }
        Ok(whole) => format!("{sign}{digits:0<width$}", width = whole + 1),
        Err(_) => {
            let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
            format!("{sign}0.{zeros}{digits}")
        }
    }
}

/// Loads a `numeric`: Python's `Decimal` keeps all digits, and turns to exponents for small ones.
pub(super) fn decimal(value: &str) -> Option<Python> {
    let (sign, unsigned) = match value.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", value),
    };
    let fraction = unsigned.strip_prefix("0.").unwrap_or_default();
    let significant = fraction.trim_start_matches('0');
    // A zero keeps one digit of the fraction.
    let digits = if significant.is_empty() {
        "0"
    } else {
        significant
    };
    let exponent = (fraction.len() + 1).saturating_sub(digits.len());
    let text = if exponent > 6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}E-{exponent}")
    } else {
        value.to_owned()
    };
    let repr = format!("Decimal('{text}')");
    Some(Python::Object { text, repr })
}

/// Loads an `inet` or `cidr` as one of the classes `IPv4Address`, `IPv6Network` and so on.
pub(super) fn address(value: &str, class: &str) -> Option<Python> {
    let (address, prefix) = match value.split_once('/') {
        Some((address, prefix)) => (address, format!("/{prefix}")),
        None => (value, String::new()),
    };
    let (version, address) = if address.contains(':') {
        (
            6,
            compressed(&address.parse::<std::net::Ipv6Addr>().ok()?.segments()),
        )
    } else {
        (4, address.to_owned())
    };
    let text = format!("{address}{prefix}");
    let repr = format!("IPv{version}{class}('{text}')");
    Some(Python::Object { text, repr })
}

/// Writes an address of version 6 as Python up to 3.12 does: the longest run of zeros is left out,
/// and what stands for an address of version 4 is not written as one.
fn compressed(segments: &[u16; 8]) -> String {
    let (mut start, mut length) = (0, 0);
    for index in 0..8 {
        let run = segments[index..]
            .iter()
            .take_while(|&&segment| segment == 0)
            .count();
        if run > length {
            (start, length) = (index, run);
        }
    }
    let write = |segments: &[u16]| {
        segments
            .iter()
            .map(|segment| format!("{segment:x}"))
            .collect::<Vec<_>>()
            .join(":")
    };
    if length < 2 {
        return write(segments);
    }
    format!(
        "{}::{}",
        write(&segments[..start]),
        write(&segments[start + length..])
    )
}
