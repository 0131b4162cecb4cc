//! libpq's password file: lines of `host:port:database:user:password`.

/// Returns the password of the first line that matches; `*` matches everything.
#[must_use]
pub fn password_for(
    file: &str,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> Option<String> {
    let port = port.to_string();
    // As libpq: the directory of a socket counts as localhost if it is the usual one.
    let host = if matches!(host, "/tmp" | "/var/run/postgresql" | "/run/postgresql") {
        "localhost"
    } else {
        host
    };
    let wanted = [host, &port, database, user];
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let fields = fields(line);
            let [host, port, database, user, password] = fields.as_slice() else {
                return None;
            };
            let found = [host, port, database, user];
            let fits = found
                .iter()
                .zip(wanted)
                .all(|(found, wanted)| *found == "*" || *found == wanted);
            fits.then(|| password.clone())
        })
}

/// At most five fields, in which a backslash escapes the next character.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.trim_end_matches('\r').chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => {
                if let (Some(field), Some(next)) = (fields.last_mut(), characters.next()) {
                    field.push(next);
                }
            }
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(character);
                }
            }
        }
    }
    fields
}
