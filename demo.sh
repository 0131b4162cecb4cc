#!/bin/sh
# Search by meaning over a live table, on a machine that has Rust and Python 3 with pip: PostgreSQL,
# the model and all else come under target/, and nothing is left running.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked -p worker
cargo build --quiet --locked -p tests --bin demonstration
exec "$target/debug/demonstration" "$target/release/worker"
