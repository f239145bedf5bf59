#!/bin/bash
# `make install` and `make uninstall`: what they put where is in docs/operating.md. Run in a checkout after `make setup`.
#   packaging/install.sh install|uninstall
# In the environment: PREFIX (/usr/local), SYSCONFDIR (/etc), DESTDIR (empty; for packages: nothing is started or made
# outside it), and for packages of a distribution: UNITDIR, ZSHDIR, FISHDIR.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PREFIX=${PREFIX:-/usr/local} SYSCONFDIR=${SYSCONFDIR:-/etc} DESTDIR=${DESTDIR:-}
readonly UNITDIR=${UNITDIR:-$PREFIX/lib/systemd/system}
readonly ZSHDIR=${ZSHDIR:-$PREFIX/share/zsh/site-functions}
readonly FISHDIR=${FISHDIR:-$PREFIX/share/fish/vendor_completions.d}
readonly PROGRAM=$PREFIX/lib/vmsandbox  # a virtual environment, its helpers, and the list of what is elsewhere
readonly HELPERS=/var/cache/vmsandbox/bin
readonly LIST=$PROGRAM/installed
umask 022  # whatever the shell of who installs has: others read what is installed

install_all() {
    [ -x .venv/bin/vmsandbox ] || { echo "run \`make setup\` first: there is no .venv" >&2; exit 1; }
    stage=$(mktemp -d)
    trap 'rm -rf "$stage" "$stage.list"' EXIT
    put_program "$stage"
    put_helpers "$stage"
    put_system_files "$stage"
    put_texts "$stage"
    remove_files  # of a version before
    list_files >"$stage.list"
    mv "$stage.list" "$stage$LIST"
    mkdir -p "$DESTDIR/"
    # Without directories: cp -a gives `/` and others that are there the modes of the stage's, and so does tar meanwhile.
    (cd "$stage" && find . ! -type d -print0 | tar -c --null --no-recursion -T -) | tar -C "$DESTDIR/" -xp --no-same-owner
    if [ -z "$DESTDIR" ]; then prepare_host; fi
}

# What `python3 -m venv` makes, at a place that may not be its own yet: DESTDIR, and a path that is never written.
put_program() {
    local python version site sources
    python=$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')
    version=$(.venv/bin/python -c 'import platform; print(platform.python_version())')
    site=$1$PROGRAM/lib/python${version%.*}/site-packages
    mkdir -p "$1$PROGRAM/bin" "$1$PREFIX/bin" "$site"
    printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\n' "${python%/*}" "$version" \
        >"$1$PROGRAM/pyvenv.cfg"
    ln -s "$python" "$1$PROGRAM/bin/python3"
    # -I: neither the environment nor the directory it is started in decides what is imported.
    printf '#!%s/bin/python3 -I\nimport sys\n\nfrom vmsandbox.__main__ import main\n\nsys.exit(main())\n' "$PROGRAM" \
        >"$1$PROGRAM/bin/vmsandbox"
    chmod 755 "$1$PROGRAM/bin/vmsandbox"
    # -S: without what looks for packages, of which it needs none, it starts in half the time.
    printf '#!%s -IS\nimport sys\n\nsys.path.insert(0, "%s")\nfrom vmsandbox.oci_command.__main__ import main\n\nsys.exit(main())\n' \
        "$python" "${site#"$1"}" >"$1$PROGRAM/bin/vmsandbox-oci"
    chmod 755 "$1$PROGRAM/bin/vmsandbox-oci"
    ln -s "../lib/vmsandbox/bin/vmsandbox" "../lib/vmsandbox/bin/vmsandbox-oci" "$1$PREFIX/bin"
    .venv/bin/python packaging/dependencies.py "$site"
    find "$site" -type f -exec chmod 644 {} +  # some wheels have executable texts
    # The directory of the Python that pip built it with, which may be another one than ours.
    find "$site" -name 'libvirtmod*.so' -exec patchelf --remove-rpath {} \;
    sources=$(mktemp -d -p "$1")
    cp -a --parents agent guest-image vmsandbox pyproject.toml setup.py README.md LICENSE "$sources"  # it is built in place
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --no-compile \
        --root-user-action=ignore --target "$sources/site" "$sources"
    cp -a "$sources"/site/vmsandbox "$sources"/site/vmsandbox-*.dist-info "$site"
    rm -f "$site"/vmsandbox-*.dist-info/direct_url.json
    rm -rf "$sources"
}

# The daemons that Debian lacks or has too old, as setup has built or fetched them: the program finds them beside itself.
put_helpers() {
    local target=$PROGRAM/libexec from
    mkdir -p "$1$target"
    cp packaging/libvirt-directory "$1$target"
    if [ -x "$HELPERS/vhost-device-vsock" ]; then
        cp -L "$HELPERS/vhost-device-vsock" "$1$target"
    fi
    if [ -x "$HELPERS/virtiofsd" ]; then  # with the C library that it needs beside it
        from=$(dirname "$(realpath "$HELPERS/virtiofsd")")
        mkdir "$1$target/virtiofsd.lib"
        cp -L "$from"/*.so.* "$1$target/virtiofsd.lib"
        cp -L "$from/virtiofsd" "$1$target"
        patchelf --set-interpreter "$target/virtiofsd.lib/ld-linux-x86-64.so.2" \
            --force-rpath --set-rpath "$target/virtiofsd.lib" "$1$target/virtiofsd"
    fi
}

put_system_files() {
    sed "s|/usr/bin/vmsandbox|$PREFIX/bin/vmsandbox|" packaging/systemd/vmsandbox.service | put "$1$UNITDIR/vmsandbox.service"
    put "$1$PREFIX/lib/sysusers.d/vmsandbox.conf" <packaging/sysusers.d/vmsandbox.conf
    put "$1$PREFIX/lib/tmpfiles.d/vmsandbox.conf" <packaging/tmpfiles.d/vmsandbox.conf
    put "$1$PREFIX/lib/modules-load.d/vmsandbox.conf" <packaging/modules-load.d/vmsandbox.conf
    put "$1$SYSCONFDIR/apparmor.d/vmsandbox" <packaging/apparmor.d/vmsandbox
}

# Examples, completion and manual pages.
put_texts() {
    local man=$1$PREFIX/share/man examples=$1$PREFIX/share/doc/vmsandbox/examples pages
    put "$examples/config.yaml" <examples/config.yaml
    put "$examples/hello-pod.yaml" <examples/hello-pod.yaml
    put "$examples/runtimeclass.yaml" <examples/runtimeclass.yaml
    put "$examples/embedded-libvirt.conf" <packaging/systemd/embedded-libvirt.conf
    sed "s|/usr/bin/vmsandbox|$PREFIX/bin/vmsandbox|" packaging/systemd/vmsandbox-containerd.service |
        put "$examples/vmsandbox-containerd.service"
    .venv/bin/vmsandbox completion bash | put "$1$PREFIX/share/bash-completion/completions/vmsandbox"
    .venv/bin/vmsandbox completion zsh | put "$1$ZSHDIR/_vmsandbox"
    .venv/bin/vmsandbox completion fish | put "$1$FISHDIR/vmsandbox.fish"
    mkdir -p "$man/man1" "$man/man5"
    pages=$(mktemp -d -p "$1")
    .venv/bin/python packaging/manual.py "$pages"
    mv "$pages"/*.1 "$man/man1"
    mv "$pages"/*.5 "$man/man5"
    rmdir "$pages"
}

put() { install -D -m 644 /dev/stdin "$1"; }

# Without systemd the daemon makes its directories itself, and the user is made as systemd-sysusers would make it.
prepare_host() {
    "$PROGRAM/bin/python3" -m compileall -q "$PROGRAM/lib"
    "$PROGRAM/libexec/libvirt-directory" open
    if command -v systemd-sysusers >/dev/null; then systemd-sysusers "$PREFIX/lib/sysusers.d/vmsandbox.conf"; fi
    if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/vmsandbox.conf"; fi
    if [ -e /sys/kernel/security/apparmor/profiles ]; then apparmor_parser --replace "$SYSCONFDIR/apparmor.d/vmsandbox"; fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl try-restart vmsandbox.service
        echo "Installed. To serve the CRI now and at every boot: systemctl enable --now vmsandbox"
    else
        echo "Installed. $PREFIX/bin/vmsandbox serve serves the CRI."
    fi
}

uninstall() {
    [ -e "$DESTDIR$LIST" ] || { echo "nothing of vmsandbox is installed below $DESTDIR$PREFIX" >&2; exit 1; }
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
        systemctl disable --now vmsandbox.service || true  # pods that run go on: they belong to libvirt
    fi
    if [ -z "$DESTDIR" ]; then "$PROGRAM/libexec/libvirt-directory" close; fi
    remove_files
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    echo "Removed. Left as they are: $SYSCONFDIR/vmsandbox (configuration), /var/lib/vmsandbox (images, disks, records)," \
        "/var/cache/vmsandbox (guest images), the user vmsandbox-images, and pods that run."
}

# What is staged outside of the program's own directory: files, and directories that are not there yet (`/` at their end).
list_files() {
    local path
    (cd "$stage" && find . -path ".$PROGRAM" -prune -o -print | sed 's/^\.//' | sort) | while read -r path; do
        if [ ! -d "$stage$path" ]; then echo "$path"
        elif [ ! -d "$DESTDIR$path" ]; then echo "$path/"; fi
    done
}

# Removes what `list_files` has listed, the last first: directories only if nobody has put something else there.
remove_files() {
    [ -e "$DESTDIR$LIST" ] || return 0
    local path paths
    mapfile -t paths < <(sort -r "$DESTDIR$LIST")
    rm -rf "$DESTDIR$PROGRAM"
    for path in "${paths[@]}"; do
        case $path in
            */) [ ! -d "$DESTDIR$path" ] || rmdir --ignore-fail-on-non-empty "$DESTDIR$path" ;;
            *) rm -f "$DESTDIR$path" ;;
        esac
    done
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall ;;
    *) echo "usage: $0 install|uninstall" >&2; exit 2 ;;
esac
