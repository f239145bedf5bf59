#!/bin/bash
# build-vhost-device-vsock.sh VERSION ROOT: builds vhost-device-vsock from its crate, with three changes, into ROOT/bin.
#
# - A host that hangs up before the guest has answered its dial (a daemon that is killed, a call that is given up) costs
#   that connection alone. As released, 0.3.0 panics when it tells such a host that the guest has answered.
# - A host that hangs up before its dial was read is forgotten. As released, the thread asks for ever what it has to say.
# - A panic ends the process. As released it ends the one thread that carries packets, and host and guest wait for ever.
set -euo pipefail

readonly version=$1 root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# cargo gives the sources of a crate only to a project that asks for it.
mkdir "$work/asking" "$work/asking/src"
touch "$work/asking/src/lib.rs"
cat >"$work/asking/Cargo.toml" <<PROJECT
[package]
name = "asking"
version = "0.0.0"
edition = "2021"
[dependencies]
vhost-device-vsock = "=$version"
PROJECT
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
cargo fetch --manifest-path "$work/asking/Cargo.toml"
cp -r "$CARGO_HOME"/registry/src/*/"vhost-device-vsock-$version" "$work/crate"

readonly answers='write_all(response.as_bytes())'
sed -i "s/$answers\.unwrap();/$answers.unwrap_or_else(|error| log::warn!(\"the host has hung up: {error}\"));/" \
    "$work/crate/src/vsock_conn.rs"
grep -q "$answers.unwrap_or_else" "$work/crate/src/vsock_conn.rs" ||
    { echo "vhost-device-vsock $version has another source: see what has become of '$answers'" >&2; exit 1; }

readonly hung_up='Has to be EPOLLIN as it was not connected previously'
sed -i "/$hung_up/a self.thread_backend.stream_map.remove(\&fd);" "$work/crate/src/vhu_vsock_thread.rs"
grep -q -A1 "$hung_up" "$work/crate/src/vhu_vsock_thread.rs" ||
    { echo "vhost-device-vsock $version has another source: see what has become of '$hung_up'" >&2; exit 1; }

CARGO_PROFILE_RELEASE_PANIC=abort cargo install --locked --path "$work/crate" --root "$root"
