use super::*;

fn parse(url: &str) -> Result<DatabaseUrl, String> {
    DatabaseUrl::parse(url, |_| None, |_| None)
}

fn with(url: &str, environment: &[(&str, &str)]) -> Result<DatabaseUrl, String> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let file = |path: &str| (path == "/services").then(|| SERVICES.to_owned());
    DatabaseUrl::parse(url, variable, file)
}

const SERVICES: &str = "[app]\nhost=a\nport=6000\ndbname=d\nuser=of_service\n";

#[test]
fn pairs_and_services_are_other_ways_to_write_a_url() {
    let url = parse("host=h port=6000 dbname='my db' application_name=x").unwrap();
    assert_eq!(url.hosts, [host("h", 6000)]);
    assert_eq!(url.database.as_deref(), Some("my db"));
    assert_eq!(url.application_name, "x");
    let own = ("PGSERVICEFILE", "/services");
    // What is named goes before the service, and the service before the environment.
    for (text, environment) in [
        ("service=app user=u", vec![own, ("PGHOST", "other")]),
        ("postgres://u@/?service=app", vec![own, ("PGPORT", "1")]),
        ("postgres://u@", vec![own, ("PGSERVICE", "app")]),
        ("user=u servicefile=/services", vec![("PGSERVICE", "app")]),
    ] {
        let url = with(text, &environment).unwrap();
        assert_eq!(url.hosts, [host("a", 6000)], "{text}");
        assert_eq!(url.user.as_deref(), Some("u"), "{text}");
        assert_eq!(url.database.as_deref(), Some("d"), "{text}");
    }
    let url = with("service=app", &[own]).unwrap();
    assert_eq!(url.user.as_deref(), Some("of_service"));
    let error = with("service=other", &[own]).unwrap_err();
    assert!(
        error.contains("other is not in /services or /etc"),
        "{error}"
    );
}

fn host(name: &str, port: u16) -> Host {
    Host {
        name: name.to_owned(),
        address: None,
        port,
    }
}

#[test]
fn a_url_is_read_as_libpq_reads_it() {
    let url = parse("postgresql://u%40x:p%3Aw@h:5433/d%20e?application_name=a%20b").unwrap();
    assert_eq!(url.user.as_deref(), Some("u@x"));
    assert_eq!(url.password.as_deref(), Some("p:w"));
    assert_eq!(url.database.as_deref(), Some("d e"));
    assert_eq!(url.application_name, "a b");
    assert_eq!(url.hosts, [host("h", 5433)]);

    let url = parse("postgres:///d?host=/run/pg&port=6000").unwrap();
    assert_eq!(url.hosts, [host("/run/pg", 6000)]);
    assert_eq!(url.address(), "/run/pg/.s.PGSQL.6000");
    let url = parse("postgres://%2Frun%2Fpg/d").unwrap();
    assert_eq!(url.hosts, [host("/run/pg", 5432)]);
    let url = parse("postgres://[::1]:7,h/d").unwrap();
    assert_eq!(url.hosts, [host("::1", 7), host("h", 5432)]);
    let url = parse("postgres://u#:p#?w@h").unwrap();
    assert_eq!(
        (url.user.as_deref(), url.password.as_deref()),
        (Some("u#"), Some("p#?w"))
    );
    let url = parse("postgres://").unwrap();
    assert_eq!(url.hosts, [host("localhost", 5432)]);
    assert_eq!(url.application_name, APPLICATION_NAME);
    let url = parse("postgres://h/d?hostaddr=10.0.0.1").unwrap();
    assert_eq!(url.hosts[0].address.as_deref(), Some("10.0.0.1"));
    assert_eq!(url.hosts[0].name, "h");
}

#[test]
fn the_url_wins_over_the_environment() {
    let environment = [
        ("PGUSER", "other"),
        ("PGPASSWORD", "x"),
        ("PGSSLMODE", "disable"),
        ("PGTZ", "Asia/Tokyo"),
        ("PGOPTIONS", "-c a=b"),
    ];
    let url = with("postgres://u@h/d", &environment).unwrap();
    assert_eq!(url.user.as_deref(), Some("u"));
    assert_eq!(url.password.as_deref(), Some("x"));
    assert_eq!(url.tls.mode, Some(SslMode::Disable));
    assert_eq!(
        url.options.as_deref(),
        Some("-c a=b -c TimeZone=Asia/Tokyo")
    );
    let url = with("postgres://u@h/d?sslmode=require", &environment).unwrap();
    assert_eq!(url.tls.mode, Some(SslMode::Require));
}

#[test]
fn what_is_wrong_is_refused_without_a_letter_of_the_password() {
    for url in [
        "",
        "sesame",
        "host=h sesame",
        "password='sesame",
        "postgres:u:sesame@h?sslmode=require",
        "mysql://u:sesame@h",
        "postgres://u:sesame@h:port/d",
        "postgres://u:p@sesame@h/d",
        "postgres://u:p/sesame@h/d",
        "postgres://u:sesame/p@h/d",
        "postgres://u:sesame%zz@h/d",
        "postgres://u:123/x?sesame&y@h",
        "postgres://u:p@h/d?Sesame=1",
        "postgres://u:p@h/d?password=%sesame",
        "postgres://h:70000/d",
        "postgres://h,i/d?port=1,2,3",
    ] {
        let refusal = parse(url).unwrap_err();
        let shows = refusal.to_ascii_lowercase().contains("sesame");
        assert!(!shows, "{url}: {refusal}");
    }
    let encode = parse("postgres://u:p@sesame@h/d").unwrap_err();
    assert!(encode.contains("percent-encode"), "{encode}");
    let printed = format!("{:?}", parse("postgres://u:sesame@h/d").unwrap());
    assert!(!printed.contains("sesame"), "{printed}");
}

#[test]
fn parameters_are_read_ignored_or_refused_with_the_reason() {
    for (query, refusal) in [
        ("ssl_mode=require", "write sslmode"),
        ("sslmod=require", "write sslmode"),
        ("sslmdoe=require", "write sslmode"),
        ("sslrotcert=x", "write sslrootcert"),
        ("nonsense=1", "no parameter nonsense"),
        ("sslmode=yes", "sslmode must be disable"),
        ("sslcrl=x", "revoked certificates"),
        ("require_auth=scram-sha-256", "require_auth cannot be used"),
        ("gssencmode=require", "Kerberos"),
        ("service=x", "the service x is not in"),
        ("channel_binding=always", "channel_binding must be"),
        ("connect_timeout=soon", "connect_timeout must be a number"),
        ("sslrootcert=system&sslmode=require", "too weak"),
        ("sslnegotiation=direct", "needs sslmode=require"),
        ("ssl_max_protocol_version=TLSv1", "no version of TLS"),
        ("target_session_attrs=standby", "a worker writes"),
    ] {
        let error = parse(&format!("postgres://h/d?{query}")).unwrap_err();
        assert!(error.contains(refusal), "{query}: {error}");
    }
    for query in [
        "gssencmode=disable",
        "client_encoding=utf8",
        "krbsrvname=x",
        "sslcompression=0",
        "load_balance_hosts=disable",
        "ssl=true",
        "keepalives=0&keepalives_idle=1&keepalives_interval=1&keepalives_count=2",
    ] {
        parse(&format!("postgres://h/d?{query}")).unwrap();
    }
    let url = parse("postgres://h/d?sslrootcert=system").unwrap();
    assert_eq!(url.tls.mode, Some(SslMode::VerifyFull));
    let refused = with("postgres://h/d", &[("PGREQUIREAUTH", "none")]).unwrap_err();
    assert!(refused.contains("require_auth"), "{refused}");
}

#[test]
fn a_password_comes_from_the_first_line_that_fits() {
    let file = "# a comment\nh:5432:d:u:one\n*:*:*:other:tw\\:o\\\\\nbroken\n*:*:*:*:three:3\n";
    let password = |host, user| password_for(file, host, 5432, "d", user);
    assert_eq!(password("h", "u").as_deref(), Some("one"));
    assert_eq!(password("i", "other").as_deref(), Some("tw:o\\"));
    assert_eq!(password("i", "u").as_deref(), Some("three:3"));
    assert_eq!(
        password_for("localhost:*:*:*:x", "/tmp", 1, "d", "u").as_deref(),
        Some("x")
    );
    assert_eq!(password_for("", "h", 1, "d", "u"), None);
}
