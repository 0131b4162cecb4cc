//! The parameters of libpq (up to PostgreSQL 18), and how a worker treats each.

use std::collections::BTreeMap;

/// What a worker does with a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    /// It is read.
    Read,
    /// It changes nothing for a worker.
    Ignored,
    /// The worker does not support it, unless it has one of these values.
    Refused {
        unless: &'static [&'static str],
        reason: &'static str,
    },
}

/// A parameter, and its environment variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) usage: Use,
}

const fn read(name: &'static str, variable: Option<&'static str>) -> Parameter {
    Parameter {
        name,
        variable,
        usage: Use::Read,
    }
}

const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        variable: None,
        usage: Use::Ignored,
    }
}

const fn refused(
    name: &'static str,
    variable: Option<&'static str>,
    unless: &'static [&'static str],
    reason: &'static str,
) -> Parameter {
    Parameter {
        name,
        variable,
        usage: Use::Refused { unless, reason },
    }
}

const NO_GSS: &str = "a worker has no Kerberos";
const NO_OAUTH: &str = "a worker has no OAuth";
const NO_LISTS: &str = "revoked certificates cannot be looked up";
const NO_KEYS: &str = "a worker needs the password itself";

/// All of them.
pub(super) const ALL: &[Parameter] = &[
    read("application_name", Some("PGAPPNAME")),
    read("channel_binding", Some("PGCHANNELBINDING")),
    // Sessions always speak UTF-8.
    ignored("client_encoding"),
    read("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    read("dbname", Some("PGDATABASE")),
    read("fallback_application_name", None),
    refused("gssdelegation", Some("PGGSSDELEGATION"), &["0"], NO_GSS),
    refused(
        "gssencmode",
        Some("PGGSSENCMODE"),
        &["disable", "prefer"],
        NO_GSS,
    ),
    ignored("gsslib"),
    read("host", Some("PGHOST")),
    read("hostaddr", Some("PGHOSTADDR")),
    read("keepalives", None),
    read("keepalives_count", None),
    read("keepalives_idle", None),
    read("keepalives_interval", None),
    ignored("krbsrvname"),
    refused(
        "load_balance_hosts",
        Some("PGLOADBALANCEHOSTS"),
        &["disable"],
        "hosts are tried in their order",
    ),
    refused(
        "max_protocol_version",
        Some("PGMAXPROTOCOLVERSION"),
        &["3.0", "3.2", "latest"],
        "a worker speaks version 3.0",
    ),
    refused(
        "min_protocol_version",
        Some("PGMINPROTOCOLVERSION"),
        &["3.0"],
        "a worker speaks version 3.0",
    ),
    refused("oauth_client_id", None, &[], NO_OAUTH),
    refused("oauth_client_secret", None, &[], NO_OAUTH),
    refused("oauth_issuer", None, &[], NO_OAUTH),
    refused("oauth_scope", None, &[], NO_OAUTH),
    read("options", Some("PGOPTIONS")),
    read("passfile", Some("PGPASSFILE")),
    read("password", Some("PGPASSWORD")),
    read("port", Some("PGPORT")),
    refused(
        "replication",
        None,
        &["0", "false", "off", "no"],
        "a worker needs an ordinary session",
    ),
    refused(
        "require_auth",
        Some("PGREQUIREAUTH"),
        &[],
        "how the server authenticates cannot be checked; with passwords, sslmode=verify-full protects them",
    ),
    refused(
        "requirepeer",
        Some("PGREQUIREPEER"),
        &[],
        "who runs the server cannot be checked",
    ),
    refused("scram_client_key", None, &[], NO_KEYS),
    refused("scram_server_key", None, &[], NO_KEYS),
    read("service", Some("PGSERVICE")),
    read("servicefile", Some("PGSERVICEFILE")),
    read("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    read("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    read("sslcert", Some("PGSSLCERT")),
    refused(
        "sslcertmode",
        Some("PGSSLCERTMODE"),
        &["allow"],
        "the client's certificate is sent if the server asks for it",
    ),
    ignored("sslcompression"),
    refused("sslcrl", Some("PGSSLCRL"), &[], NO_LISTS),
    refused("sslcrldir", Some("PGSSLCRLDIR"), &[], NO_LISTS),
    read("sslkey", Some("PGSSLKEY")),
    refused(
        "sslkeylogfile",
        None,
        &[],
        "keys of sessions are not written to files",
    ),
    read("sslmode", Some("PGSSLMODE")),
    read("sslnegotiation", Some("PGSSLNEGOTIATION")),
    refused(
        "sslpassword",
        None,
        &[],
        "a key with a password cannot be read; store it without one",
    ),
    read("sslrootcert", Some("PGSSLROOTCERT")),
    refused(
        "sslsni",
        Some("PGSSLSNI"),
        &["1"],
        "the host's name is always sent",
    ),
    read("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    read("tcp_user_timeout", None),
    read("user", Some("PGUSER")),
];

/// How a parameter is treated; `None` if libpq does not know it.
pub(super) fn usage(name: &str) -> Option<Use> {
    let mut all = ALL.iter();
    all.find(|known| known.name == name)
        .map(|known| known.usage)
}

/// The parameter of this name, or what is wrong with the name.
pub(super) fn known(name: &str) -> Result<&'static str, String> {
    let known = ALL.iter().find(|known| known.name == name);
    known.map(|known| known.name).ok_or_else(|| unknown(name))
}

/// The values in a URL, by the names of libpq's parameters.
pub(super) fn of_url(url: &str) -> Result<BTreeMap<&'static str, String>, String> {
    // SQLAlchemy names a driver, too: postgresql+psycopg://
    let parts = url.split_once("://");
    let rest = parts
        .filter(|(scheme, _)| {
            let database = scheme
                .split_once('+')
                .map_or(*scheme, |(database, _)| database);
            matches!(database, "postgres" | "postgresql")
        })
        .map(|(_, rest)| rest)
        .ok_or("it must begin with postgres://")?;
    let mut values = BTreeMap::new();
    // As libpq: the first @ before any / ends user and password.
    let end = rest
        .find(['@', '/'])
        .filter(|at| rest[*at..].starts_with('@'));
    let (credentials, rest) = end.map_or(("", rest), |at| (&rest[..at], &rest[at + 1..]));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    set(&mut values, "user", user)?;
    set(&mut values, "password", password)?;
    let (places, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if places.contains('@') || path.contains('@') {
        return Err("there is an @ in the password: percent-encode it as %40 \
                    (and : / ? # in it as %3A %2F %3F %23)"
            .to_owned());
    }
    set(
        &mut values,
        "dbname",
        path.strip_prefix('/').unwrap_or(path),
    )?;
    set_places(&mut values, places)?;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name == "ssl" && value == "true" {
            values.insert("sslmode", "require".to_owned());
            continue;
        }
        // Without an end of the password it may go on to here.
        let may_be_secret = credentials.is_empty() && query.contains('@');
        let known = known(name).map_err(|error| if may_be_secret { unknown("") } else { error })?;
        values.insert(known, decoded(known, value)?);
    }
    Ok(values)
}

/// The hosts and ports between the password and the database.
fn set_places(values: &mut BTreeMap<&'static str, String>, places: &str) -> Result<(), String> {
    let (mut hosts, mut ports) = (vec![], vec![]);
    for place in places.split(',') {
        let (host, port) = match place.strip_prefix('[').map(|place| place.split_once(']')) {
            Some(Some((address, port))) => (address, port.strip_prefix(':').unwrap_or(port)),
            Some(None) => return Err("an address of IPv6 ends with ]".to_owned()),
            None => place.split_once(':').unwrap_or((place, "")),
        };
        hosts.push(decoded("host", host)?);
        ports.push(decoded("port", port)?);
    }
    let are_there = |list: &[String]| list.iter().any(|item| !item.is_empty());
    if are_there(&hosts) {
        values.insert("host", hosts.join(","));
    }
    if are_there(&ports) {
        values.insert("port", ports.join(","));
    }
    Ok(())
}

fn set(
    values: &mut BTreeMap<&'static str, String>,
    name: &'static str,
    value: &str,
) -> Result<(), String> {
    if !value.is_empty() {
        values.insert(name, decoded(name, value)?);
    }
    Ok(())
}

fn decoded(name: &str, value: &str) -> Result<String, String> {
    let bytes = percent_decoded(value).filter(|bytes| !bytes.contains(&0));
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        format!(
            "{name} is not percent-encoded as it must be: a % stands before two hexadecimal digits, \
             and for itself as %25"
        )
    })
}

fn percent_decoded(value: &str) -> Option<Vec<u8>> {
    let mut decoded = vec![];
    let mut parts = value.split('%');
    decoded.extend(parts.next()?.bytes());
    for part in parts {
        let digits = part
            .get(..2)
            .filter(|two| two.bytes().all(|it| it.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend(part.bytes().skip(2));
    }
    Some(decoded)
}

/// An unknown name is repeated only if it looks like a name: it may be the part of a password
/// after a `?`.
fn unknown(name: &str) -> String {
    let looks_like_one = !name.is_empty()
        && name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte));
    if !looks_like_one {
        return "there is a parameter that libpq does not know; where it is part of the password, \
                percent-encode the characters : / ? # @ in that"
            .to_owned();
    }
    let letters = |name: &str| name.replace(['_', '-'], "");
    let similar = ALL.iter().find(|known| {
        let (known, name) = (letters(known.name), letters(name));
        known == name || is_one_edit_away(&known, &name)
    });
    match similar {
        Some(known) => format!("there is no parameter {name}: write {}", known.name),
        None => format!("there is no parameter {name}"),
    }
}

/// Whether one inserted, missing or different letter, or two swapped letters, turn one name into
/// the other.
fn is_one_edit_away(left: &str, right: &str) -> bool {
    let (short, long) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    let same = short
        .bytes()
        .zip(long.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let (short, long) = (&short.as_bytes()[same..], &long.as_bytes()[same..]);
    match long.len() - short.len() {
        0 if short.len() < 2 => true,
        0 => {
            short[1..] == long[1..]
                || (short[2..] == long[2..] && short[0] == long[1] && short[1] == long[0])
        }
        1 => *short == long[1..],
        _ => false,
    }
}
