//! libpq's service file: parameters under a name.

use std::collections::BTreeMap;

use super::parameters;

/// Where Debian's libpq looks for the file of the whole system.
const SYSTEM: &str = "/etc/postgresql-common";

/// The files in which a service may be, in their order. `own` is the parameter `servicefile`.
pub(super) fn paths(
    own: Option<String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let own = own.or_else(|| Some(set("HOME")? + "/.pg_service.conf"));
    let system = set("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM.to_owned());
    own.into_iter()
        .chain([format!("{system}/pg_service.conf")])
        .collect()
}

/// The parameters of a service, if a file has it: the lines `name=value` under `[service]`.
pub(super) fn read(
    file: &str,
    service: &str,
) -> Option<Result<BTreeMap<&'static str, String>, String>> {
    let lines = file.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let heading = format!("[{service}]");
    lines.find(|line| *line == heading)?;
    let lines = lines.take_while(|line| !line.starts_with('['));
    let pair = |line: &str| {
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("the service {service} has a line that is not name=value"))?;
        let name = parameters::known(name.trim_end())
            .map_err(|reason| format!("in the service {service}: {reason}"))?;
        if name == "service" {
            return Err(format!("the service {service} names a service itself"));
        }
        Ok((name, value.trim_start().to_owned()))
    };
    Some(lines.map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[one]\nhost=a\n\n[two]\nhost=b\nport = 6000\npassword=x y=z\n[three]\nfoo=1\n[four]\nservice=one\n";

    #[test]
    fn a_service_is_the_lines_under_its_name() {
        let two = read(FILE, "two").unwrap().unwrap();
        let two: Vec<_> = two
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(
            two,
            [("host", "b"), ("password", "x y=z"), ("port", "6000")]
        );
        assert_eq!(read(FILE, "one").unwrap().unwrap().len(), 1);
        assert!(read(FILE, "five").is_none());
        for (service, words) in [("three", "no parameter foo"), ("four", "names a service")] {
            assert!(read(FILE, service).unwrap().unwrap_err().contains(words));
        }
    }

    #[test]
    fn the_own_file_is_looked_at_before_the_systems() {
        let with = |set: &'static [(&str, &str)]| {
            paths(None, |name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[]), ["/etc/postgresql-common/pg_service.conf"]);
        assert_eq!(
            with(&[("HOME", "/h"), ("PGSYSCONFDIR", "/s")]),
            ["/h/.pg_service.conf", "/s/pg_service.conf"]
        );
        assert_eq!(paths(Some("/f".to_owned()), |_| None)[0], "/f");
    }
}
