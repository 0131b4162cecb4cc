use super::*;

fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(Options, Settings), Usage> {
    let environment: BTreeMap<String, String> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let arguments = std::iter::once("worker")
        .chain(arguments.iter().copied())
        .map(str::to_owned);
    match Command::parse(arguments, &environment, "1")? {
        Command::Run(options) => {
            let settings = options.settings("w", &environment, Limits::default(), Duration::ZERO);
            Ok((*options, settings))
        }
        Command::Complete { .. }
        | Command::Inquire(..)
        | Command::Install(_)
        | Command::Parse(_)
        | Command::Serve(..) => {
            panic!("not asked for")
        }
    }
}

#[test]
fn the_short_name_of_the_database_wins_over_the_long_one_and_a_flag_over_both() {
    let environment = [
        ("DB_URL", "short"),
        ("PGAI_VECTORIZER_WORKER_DB_URL", "long"),
    ];
    assert_eq!(parse(&[], &environment).unwrap().0.db_url, "short");
    assert_eq!(parse(&[], &environment[1..]).unwrap().0.db_url, "long");
    assert_eq!(
        parse(&["--db-url", "flag"], &environment).unwrap().0.db_url,
        "flag"
    );
}

#[test]
fn durations_are_seconds_or_have_units() {
    for (text, millis) in [
        ("10", 10_000),
        ("0.5", 500),
        ("500ms", 500),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
    ] {
        let (_, settings) = parse(&["--poll-interval", text], &[]).unwrap();
        assert_eq!(
            settings.poll_interval,
            Duration::from_millis(millis),
            "{text}"
        );
    }
    for text in ["abc", "-5", "0", ""] {
        assert_eq!(
            parse(&[&format!("--poll-interval={text}")], &[])
                .unwrap_err()
                .code,
            2,
            "{text}"
        );
    }
}

#[test]
fn bytes_have_the_units_of_postgresql() {
    let row_bytes = |text| Ok(parse(&["--max-row-bytes", text], &[])?.1.limits.row_bytes);
    for (text, bytes) in [
        ("1", 1),
        ("7kB", 7168),
        ("64MB", 67_108_864),
        ("2 GB", 1 << 31),
    ] {
        assert_eq!(row_bytes(text), Ok::<_, Usage>(bytes), "{text}");
    }
    for text in ["0", "", "MB", "1.5MB", "1TB", "-1", "99999999999GB"] {
        let text = format!("--max-row-bytes={text}");
        assert_eq!(parse(&[&text], &[]).unwrap_err().code, 2, "{text}");
    }
    let environment = [("PGAI_VECTORIZER_WORKER_MAX_ROW_BYTES", "1MB")];
    assert_eq!(
        parse(&[], &environment).unwrap().1.limits.row_bytes,
        1 << 20
    );
}

#[test]
fn ids_come_one_by_one_or_as_a_list() {
    assert_eq!(
        parse(&["-i", "1", "-i", "2"], &[])
            .unwrap()
            .1
            .vectorizer_ids,
        [1, 2]
    );
    assert_eq!(
        parse(&["--vectorizer-ids", "1,2"], &[])
            .unwrap()
            .1
            .vectorizer_ids,
        [1, 2]
    );
    let environment = [("PGAI_VECTORIZER_WORKER_VECTORIZER_IDS", "3 4")];
    assert_eq!(parse(&[], &environment).unwrap().1.vectorizer_ids, [3, 4]);
    assert_eq!(
        parse(&["--vectorizer-ids", "5"], &environment)
            .unwrap()
            .1
            .vectorizer_ids,
        [5]
    );
    assert_eq!(
        parse(&["-i", "5"], &environment).unwrap().1.vectorizer_ids,
        [5]
    );
}

#[test]
fn once_implies_exit_on_error_unless_told_otherwise() {
    assert!(!parse(&[], &[]).unwrap().1.exit_on_error);
    assert!(parse(&["--once"], &[]).unwrap().1.exit_on_error);
    assert!(parse(&["--exit-on-error"], &[]).unwrap().1.exit_on_error);
    assert!(
        !parse(&["--once", "--exit-on-error=false"], &[])
            .unwrap()
            .1
            .exit_on_error
    );
    let environment = [
        ("PGAI_VECTORIZER_WORKER_ONCE", "1"),
        ("PGAI_VECTORIZER_WORKER_EXIT_ON_ERROR", "no"),
    ];
    let (_, settings) = parse(&[], &environment).unwrap();
    assert!(settings.once && !settings.exit_on_error);
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    assert_eq!(parse(&["--concurrency", "0"], &[]).unwrap_err().code, 2);
    assert_eq!(parse(&["--nonsense"], &[]).unwrap_err().code, 2);
    let environment = [("PGAI_VECTORIZER_WORKER_POLL_INTERVAL", "abc")];
    assert_eq!(parse(&[], &environment).unwrap_err().code, 2);
    assert_eq!(parse(&["--help"], &[]).unwrap_err().code, 0);
    assert_eq!(parse(&["--version"], &[]).unwrap_err().code, 0);
}

#[test]
fn levels_of_the_python_worker_are_understood() {
    for level in ["DEBUG", "info", "WARN", "ERROR", "FATAL", "CRITICAL"] {
        parse(&["--log-level", level], &[]).unwrap();
    }
}

#[test]
fn several_keys_are_counted_and_json_is_one() {
    for (value, keys) in [
        ("one", 1),
        ("one,two", 2),
        ("one, two ,, three,", 3),
        (r#"{"type": "service_account", "client_email": "a,b"}"#, 1),
        (r#"{"a":1,"b":2}"#, 1),
        ("", 0),
    ] {
        assert_eq!(keys_in(value), keys, "{value}");
    }
}

#[test]
fn a_port_alone_is_reached_from_this_machine_only() {
    for (given, address) in [
        ("9187", "127.0.0.1:9187"),
        ("localhost:9187", "127.0.0.1:9187"),
        ("0.0.0.0:9187", "0.0.0.0:9187"),
        ("[::]:80", "[::]:80"),
    ] {
        let http = |arguments: &[&str], environment: &[(&str, &str)]| {
            parse(arguments, environment).unwrap().0.http().unwrap()
        };
        assert_eq!(http(&["--http", given], &[]).to_string(), address);
        assert_eq!(http(&[], &[("PGAI_HTTP", given)]).to_string(), address);
    }
    assert_eq!(parse(&[], &[("PGAI_HTTP", "")]).unwrap().0.http(), None);
    // As in the image, which sets the address.
    let of_image = parse(&["--http-actions"], &[("PGAI_HTTP", "9187")])
        .unwrap()
        .0;
    assert!(of_image.http().is_some() && of_image.http_actions());
    for wrong in [":9187", "here:9187", "127.0.0.1", "70000"] {
        let refused = parse(&["--http", wrong], &[]).unwrap_err();
        assert!(refused.text.contains("0.0.0.0:9187"), "{}", refused.text);
    }
}

#[test]
fn a_wrong_value_in_the_environment_is_blamed_on_its_variable() {
    let environment = [("PGAI_VECTORIZER_WORKER_POLL_INTERVAL", "soon")];
    let usage = parse(&[], &environment).unwrap_err();
    assert_eq!(usage.code, 2);
    let begins = "in the environment variable PGAI_VECTORIZER_WORKER_POLL_INTERVAL: error: invalid value 'soon'";
    assert!(usage.text.starts_with(begins), "{}", usage.text);
    // What is on the command line goes first, and is blamed for itself.
    parse(&["--poll-interval", "1"], &environment).unwrap();
    let usage = parse(&["--poll-interval", "never"], &environment).unwrap_err();
    assert!(usage.text.starts_with("error: invalid value 'never'"));
}

#[test]
fn rust_log_is_the_level_unless_a_level_is_given() {
    for (value, level) in [
        ("debug", Level::Debug),
        ("worker=trace,warn", Level::Warning),
        ("worker=debug", Level::Debug),
        ("off", Level::Error),
        ("nonsense", Level::Info),
    ] {
        let environment = [("RUST_LOG", value)];
        assert_eq!(
            parse(&[], &environment).unwrap().0.log_level(),
            level,
            "{value}"
        );
    }
    let environment = [
        ("RUST_LOG", "debug"),
        ("PGAI_VECTORIZER_WORKER_LOG_LEVEL", "error"),
    ];
    assert_eq!(
        parse(&[], &environment).unwrap().0.log_level(),
        Level::Error
    );
    let given = parse(&["--log-level", "warning"], &environment[..1]).unwrap();
    assert_eq!(given.0.log_level(), Level::Warning);
}

#[test]
fn a_variable_that_means_nothing_is_told_with_the_nearest() {
    let advice = |name: &str| {
        let environment = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
        parse(&[], &[]).unwrap().0.advice(&environment).join("\n")
    };
    assert_eq!(
        advice("PGAI_VECTORIZER_WORKER_POLL_INTREVAL"),
        "the environment variable PGAI_VECTORIZER_WORKER_POLL_INTREVAL means nothing here: \
         did you mean PGAI_VECTORIZER_WORKER_POLL_INTERVAL?"
    );
    assert_eq!(
        advice("PGAI_WHATEVER_ELSE_THERE_IS"),
        "the environment variable PGAI_WHATEVER_ELSE_THERE_IS means nothing here"
    );
    for name in [
        "PGAI_MODELS_DIR",
        "PGAI_HTTP",
        "PGAI_VECTORIZER_WORKER_ONCE",
        "PGAI_OPENAI_API_KEY",
        "PGAI_OPENAI_API_KEY_FILE",
        "PGAI_TEST_PG",
        "OTHER",
    ] {
        assert_eq!(advice(name), "", "{name}");
    }
}

#[test]
fn run_is_what_no_command_does() {
    for arguments in [&["run", "--once"][..], &["--once", "run"]] {
        assert!(parse(arguments, &[]).unwrap().1.once);
    }
    assert_eq!(parse(&["help", "status"], &[]).unwrap_err().code, 0);
    let usage = parse(&["statsu"], &[]).unwrap_err();
    assert!(usage.text.contains("status"), "{}", usage.text);
}
