use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Process {
    Process::spawn("sh", &["-c", script], &[("SHOWN", "yes")])
}

#[test]
fn lines_of_both_streams_are_seen_as_they_come() {
    let mut process = shell("echo one; sleep 0.05; echo two >&2; sleep 0.05; printf three; exit 3");
    assert_eq!(process.wait_for_line("ne", PATIENCE), "one");
    let (next, line) = process.wait_for_line_from(1, "t", PATIENCE);
    assert_eq!((next, line.as_str()), (2, "two"));
    assert_eq!(process.wait(PATIENCE).code(), Some(3));
    assert_eq!(process.lines(), ["one", "two", "three"]);
    assert!(!process.is_running());
    // A process that has ended is not signalled: its id may be somebody else's.
    process.signal(Signal::Kill);
}

#[test]
fn a_missing_line_fails_with_what_was_written() {
    let process = shell("echo something else");
    let found = process.output.find(0, "wanted", PATIENCE);
    assert_eq!(found, Err("it has ended".to_owned()));
    assert!(process.report().contains("something else"));
    let process = shell("sleep 60");
    let found = process.output.find(0, "wanted", Duration::from_millis(30));
    assert_eq!(found, Err("waited 30ms".to_owned()));
}

#[test]
fn a_process_sees_only_the_given_environment() {
    let mut process = shell("env");
    process.wait(PATIENCE);
    let lines = process.lines();
    assert!(lines.contains(&"SHOWN=yes".to_owned()));
    assert!(lines.iter().any(|line| line.starts_with("PATH=")));
    assert!(
        !lines.iter().any(|line| line.starts_with("CARGO")),
        "{lines:?}"
    );
}

#[test]
fn signals_stop_continue_and_end_a_process() {
    use std::os::unix::process::ExitStatusExt;
    let script = "trap 'echo terminated; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let mut process = shell(script);
    process.wait_for_line("ready", PATIENCE);
    process.signal(Signal::Stop);
    process.signal(Signal::Term);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(process.lines(), ["ready"]);
    assert!(process.is_running());
    process.signal(Signal::Cont);
    assert_eq!(process.wait(PATIENCE).code(), Some(7));
    assert_eq!(process.lines(), ["ready", "terminated"]);

    let mut process = shell("echo ready; exec sleep 60");
    process.wait_for_line("ready", PATIENCE);
    process.signal(Signal::Kill);
    assert_eq!(process.wait(PATIENCE).signal(), Some(9));
}

#[test]
fn dropping_kills_even_a_stopped_process() {
    let mut process = shell("echo ready; exec sleep 60");
    process.wait_for_line("ready", PATIENCE);
    process.signal(Signal::Stop);
    let pid = i32::try_from(process.id())
        .ok()
        .and_then(Pid::from_raw)
        .unwrap();
    drop(process);
    assert!(rustix::process::test_kill_process(pid).is_err());
}

#[test]
fn a_port_is_outside_of_the_systems_own_range() {
    let port = listen().local_addr().unwrap().port();
    assert!((20_000..32_000).contains(&port), "{port}");
}
