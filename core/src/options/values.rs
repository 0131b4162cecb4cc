//! How the values of options are written.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogLevel {
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    #[value(alias = "fatal", alias = "critical")]
    Error,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    Json,
    Text,
}

#[derive(Clone, Debug)]
pub(super) struct Ids(pub(super) Vec<i64>);

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err(format!("{text} is not in the range x>=1")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{text:?} is not a whole number")),
    }
}

/// US dollars, as millionths.
pub(super) fn dollars(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let dollars: f64 = text
        .strip_prefix('$')
        .unwrap_or(text)
        .parse()
        .unwrap_or(0.0);
    if !(1e-6..=1e9).contains(&dollars) {
        return Err(format!(
            "{text:?} is not a sum of US dollars: give 5, or 0.50"
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is neither negative nor too large"
    )]
    Ok((dollars * 1e6).round() as u64)
}

/// Bytes as PostgreSQL writes them: a number, or a number with kB, MB or GB, which are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit = match text[end..].trim() {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1 << 10),
        "MB" => Some(1 << 20),
        "GB" => Some(1 << 30),
        _ => None,
    };
    let number = text[..end].parse::<usize>().ok();
    number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("{text:?} is not a number of bytes: give 64MB, 1GB"))
}

/// `1,2,3` or `1 2 3`.
pub(super) fn ids(text: &str) -> Result<Ids, String> {
    text.split([',', ' ', '\t', '\n'])
        .filter(|id| !id.is_empty())
        .map(|id| {
            id.parse()
                .map_err(|_| format!("{id:?} is not the id of a vectorizer"))
        })
        .collect::<Result<_, _>>()
        .map(Ids)
}

/// A port of this machine, which only its own processes reach, or an address with a port.
pub(crate) fn listening(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not a port or an address with a port: give 9187 for this machine only, or \
             0.0.0.0:9187 for all of its networks"
        )
    })
}

/// Seconds as a number, or a number with units: `500ms`, `5m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is not a valid duration: give seconds, or 500ms, 5m, 1h30m");
    let text = text.trim();
    if text.starts_with('-') {
        return Err("a duration can't be negative".to_owned());
    }
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| refused())?,
        Err(_) => {
            let signed: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
            Duration::try_from(signed).map_err(|_| refused())?
        }
    };
    if parsed < Duration::from_millis(1) {
        return Err("a duration must be at least 1ms".to_owned());
    }
    Ok(parsed)
}
