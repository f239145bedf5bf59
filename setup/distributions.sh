# Sourced: what is not the same in Debian 12, Debian 13 and Ubuntu 24.04. The names in debian-packages.txt are.

readonly CARGO_AT_LEAST=1.85
readonly VIRTIOFSD_AT_LEAST=1.13  # vmsandbox/node/file_server.py
readonly VIRTIOFSD_SUITE=trixie
readonly VIRTIOFSD_ROOT=$CACHE/virtiofsd-$VIRTIOFSD_SUITE
readonly DOCKER_ROOT=$CACHE/docker  # tests/support/docker.py

# at_least LEAST VERSION: whether the version, which may be empty, is LEAST or newer.
at_least() { printf '%s\n' "$1" "$2" | sort -V -C; }

# The version that apt would install, or nothing.
apt_version() { apt-cache show "$1" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1; }

# Debian has a newer cargo for its browsers beside its own, Ubuntu one package for each version.
install_cargo() {
    if [ -n "$(apt_version cargo-web)" ]; then
        install_packages cargo-web
    else
        install_packages "cargo-$CARGO_AT_LEAST"
        PATH=/usr/lib/rust-$CARGO_AT_LEAST/bin:$PATH
    fi
}

has_virtiofsd() {
    [ -x "$VIRTIOFSD_ROOT/virtiofsd" ] ||
        at_least "$VIRTIOFSD_AT_LEAST" "$(/usr/libexec/virtiofsd --version 2>/dev/null | cut -d' ' -f2)"
}

# Debian 13 has it. Debian 12 has that of QEMU 7.2, under which supplementary groups create no files, and Ubuntu's is too
# old. Debian 13's needs a newer C library there, which is put beside it: building the crate takes two minutes and a half
# of CPU time, this ten seconds.
install_virtiofsd() {
    if at_least "$VIRTIOFSD_AT_LEAST" "$(apt_version virtiofsd)"; then
        install_packages virtiofsd
    elif [ -f /etc/debian_version ]; then
        step virtiofsd "Fetching Debian's virtiofsd ($VIRTIOFSD_SUITE)" fetch_virtiofsd
        mkdir -p "$CACHE/bin"
        ln -sfn "$VIRTIOFSD_ROOT/virtiofsd" "$CACHE/bin/virtiofsd"
    fi
}

fetch_virtiofsd() {
    local tree library building=$VIRTIOFSD_ROOT.building
    rm -rf "$building"
    mkdir -p "$building"
    tree=$building/tree
    .venv/bin/python -m vmsandbox.guestimage "$VIRTIOFSD_SUITE" |
        mmdebstrap --variant=extract --architectures=amd64 --include=virtiofsd "$VIRTIOFSD_SUITE" "$tree" -
    local libraries=$tree/usr/lib/x86_64-linux-gnu loader=ld-linux-x86-64.so.2
    cp "$tree/usr/libexec/virtiofsd" "$libraries/$loader" "$building"
    "$libraries/$loader" --library-path "$libraries" --list "$building/virtiofsd" |
        sed -n "s|.* => \($libraries/[^ ]*\).*|\1|p" |
        while read -r library; do cp -L "$library" "$building"; done
    patchelf --set-interpreter "$VIRTIOFSD_ROOT/$loader" --force-rpath --set-rpath "$VIRTIOFSD_ROOT" \
        "$building/virtiofsd"
    rm -rf "$tree" "$VIRTIOFSD_ROOT"
    mv "$building" "$VIRTIOFSD_ROOT"
    "$VIRTIOFSD_ROOT/virtiofsd" --version
}

has_docker() { [ -x "$DOCKER_ROOT/usr/sbin/dockerd" ] || { command -v dockerd && command -v docker; } >/dev/null; }

# The distribution's Docker, for the tests alone: unpacked and not installed. Its package would start a daemon that changes
# the host's packet filter, and would remove the Docker that the host may have from elsewhere.
fetch_docker() {
    local package building=$DOCKER_ROOT.building
    rm -rf "$building"
    mkdir -p "$building/packages"
    (cd "$building/packages" && apt-get download docker.io $([ -z "$(apt_version docker-cli)" ] || echo docker-cli))
    for package in "$building"/packages/*.deb; do dpkg -x "$package" "$building"; done
    rm -rf "$building/packages" "$DOCKER_ROOT"
    mv "$building" "$DOCKER_ROOT"
}
