#!/bin/sh
# Builds the Debian package of the worker, for the release of Debian or Ubuntu that this runs on, and prints
# its path: target/debian/pgai-worker_VERSION_ARCHITECTURE.deb. Needs cargo-deb (`cargo install --locked
# cargo-deb`) and dpkg-dev. PROFILE and OUTPUT are for tests.
set -eu
cd "$(dirname "$0")/../.."
profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}
output=${OUTPUT:-$target/debian}
cargo build --quiet --locked --profile "$profile" -p worker
# cargo-deb finds them in the directory of the profile.
case $profile in dev) manual=$target/debug/man ;; *) manual=$target/$profile/man ;; esac
rm -rf "$manual"
cargo run --quiet --locked -p pgai-core --example manual -- "$manual"
gzip --best --no-name "$manual"/*.1
cargo deb --quiet --locked --no-build --profile "$profile" -p worker --output "$output/"
ls "$output"/*.deb
