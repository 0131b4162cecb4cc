//! The fuzzers' inputs under a memory limit: this program starts itself once more, with less.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tests::fuzz;

/// Of virtual memory, in KiB. Without bounds, some of the inputs below take many GB.
const LIMIT_KIB: usize = 700 * 1024;
const CHILD: &str = "PGAI_TEST_UNDER_A_LIMIT";
const TEST: &str = "memory::hostile_answers_and_rows_stay_within_a_limit";

#[test]
fn hostile_answers_and_rows_stay_within_a_limit() {
    if std::env::var_os(CHILD).is_some() {
        replay();
        return;
    }
    let script = format!("ulimit -v {LIMIT_KIB} && exec \"$0\" \"$@\"");
    let status = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(
        status.success(),
        "under a limit of {LIMIT_KIB} KiB: {status}"
    );
}

fn replay() {
    let limited = vec![0_u8; LIMIT_KIB * 1024 / 2].len();
    assert!(limited > 0);
    let too_much: Result<(), _> = Vec::<u8>::new().try_reserve_exact(LIMIT_KIB * 1024);
    assert!(too_much.is_err(), "the limit holds");
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"));
    for (name, target) in fuzz::TARGETS {
        if !["answers", "config", "provider", "rows"].contains(&name) {
            continue;
        }
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            print!("{name}/{}: ", path.file_name().unwrap().display());
            std::io::stdout().flush().unwrap();
            let began = Instant::now();
            target(&fs::read(&path).unwrap());
            println!("{:?}", began.elapsed());
            inputs += 1;
        }
        assert!(inputs >= 5, "{name} has {inputs} inputs");
    }
}
