"""A volume with other settings of the share than those that are used: how long reads and writes take in a container.

    python -m tests.performance.volumes [NAME...]

NAME is one of `SETTINGS`; without any, all are compared. Each is a pod of its own, of one daemon and one run, and takes
turns with the others and with a process of the host on the same disk. That process is what a container of runc is to
its volumes. `make bench` measures what is used beside runc itself (section `files`); this says why it is used.

Times are those of the guest's clock, for files that the guest has not seen and the host has in its cache.
"""

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.conformance import serving
from tests.support.conformance_client import Container, Cri
from vmsandbox.node.file_server import OPTIONS

REPETITIONS = 2
BIG, FILES = 64, 500
"""MiB of the large file; small files."""

SETTINGS = {
    "used": ("", "", 0),
    "without killpriv-v2": ("--killpriv-v2", "", 0),
    "no attributes, no ACLs": ("--xattrmap --posix-acl", "", 0),
    "no thread pool": ("--thread-pool-size", "", 0),
    "cache always": ("", "--cache=always", 0),
    "writeback": ("", "--writeback", 0),
    "read ahead 128 KiB": ("", "", 128),
    "read ahead 1 MiB": ("", "", 1024),
    "read ahead 4 MiB": ("", "", 4096),
}
"""Options that virtiofsd is not given, those that it is given as well, KiB that the guest reads ahead (0: as used)."""

_WRITE = f"mkdir $0/new; i=0; while [ $i -lt {FILES} ]; do echo line > $0/new/$i; i=$((i+1)); done"
_READ = "for f in $0/small/*; do read -r line < $f; done"
SCRIPTS = {
    f"read {BIG} MiB": "cat $0/big > /dev/null",
    "write 16 MiB": "dd if=/dev/zero of=$0/zero bs=1M count=16 2>/dev/null",
    f"read {FILES} small files": _READ,
    f"write {FILES} small files": _WRITE,
    f"write and read {FILES} small files": f"{_WRITE}; {_READ.replace('small', 'new')}".replace("$0/new", "$0/both"),
}

_SERVER = r"""#!/bin/bash
# Starts virtiofsd without the options that the file `settings` takes away, and with those that it adds.
[ "$1" = --version ] && exec {server} --version
WITHOUT= WITH=
. {directory}/settings
kept=()
for option in "$@"; do
    case " $WITHOUT " in *" ${{option%%=*}} "*) ;; *) kept+=("$option") ;; esac
done
exec {server} "${{kept[@]}}" $WITH
"""
_PRIVILEGED = {"privileged": True}
"""Has a container set what the guest reads ahead."""


def main(names: list[str], server: str) -> None:
    """Print a table: seconds, and their ratio to the host's."""
    with tempfile.TemporaryDirectory(prefix="volumes-", dir="/var/tmp") as made:
        directory = Path(made)
        directory.chmod(0o755)
        program = directory / "virtiofsd"
        program.write_text(_SERVER.format(server=server, directory=directory))
        program.chmod(0o755)
        settings = {"virtiofsd": str(program), "machine": {"memory": "256Mi", "boot_deadline": 300}}
        (directory / "settings").touch()
        with serving(settings) as daemon:
            pods = {name: _start(daemon.cri, directory, name) for name in names}
            found: defaultdict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
            for number in range(REPETITIONS):
                for name in ("host", *names):
                    _fill(directory / name / str(number))
                for what, script in SCRIPTS.items():
                    found["host"][what].append(_on_host(script, directory / "host" / str(number)))
                    for name, container in pods.items():
                        found[name][what].append(_in_guest(script, container, f"/volume/{number}"))
            for container in pods.values():
                container.pod.remove()
    for line in _table(found):
        sys.stdout.write(f"{line}\n")


def _start(cri: Cri, directory: Path, name: str) -> Container:
    without, extra, ahead = SETTINGS[name]
    (directory / "settings").write_text(f"WITHOUT={shlex.quote(without)} WITH={shlex.quote(extra)}\n")
    (directory / name).mkdir()
    mounts = [{"host_path": str(directory / name), "container_path": "/volume"}]
    pod = cri.run_pod(linux={"security_context": _PRIVILEGED})
    container = pod.start(security=_PRIVILEGED, mounts=mounts)
    if ahead:
        device = container.output("awk", '$5 == "/volume" { print $3 }', "/proc/self/mountinfo").strip()
        container.output("sh", "-c", f"echo {ahead} > /sys/class/bdi/{device}/read_ahead_kb")
    return container


def _fill(directory: Path) -> None:
    (directory / "small").mkdir(parents=True)
    (directory / "big").write_bytes(os.urandom(BIG << 20))
    for number in range(FILES):
        (directory / "small" / str(number)).write_text("line\n")


def _on_host(script: str, directory: Path) -> float:
    begin = time.monotonic()
    subprocess.run(["busybox", "sh", "-c", script, str(directory)], check=True)
    return time.monotonic() - begin


def _in_guest(script: str, container: Container, directory: str) -> float:
    timed = f"read -r begin rest < /proc/uptime; {script}; read -r end rest < /proc/uptime; echo $begin $end"
    begin, end = container.exec("sh", "-c", timed, directory, timeout=600).stdout.split()
    return float(end) - float(begin)


def _table(found: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    host = {what: statistics.median(times) for what, times in found["host"].items()}
    yield "| | " + " | ".join(host) + " |"
    yield "|---" * (len(host) + 1) + "|"
    for name, by_what in found.items():
        medians = {what: statistics.median(times) for what, times in by_what.items()}
        cells = (f"{took:.3f} s, {took / host[what]:.0f}" for what, took in medians.items())
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield f"load: {os.getloadavg()[0]:.0f}; options: {' '.join(OPTIONS)}"


if __name__ == "__main__":
    main(sys.argv[1:] or list(SETTINGS), "/var/cache/vmsandbox/bin/virtiofsd")
