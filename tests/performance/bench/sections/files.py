"""Reads and writes of a volume, of an image's layer, and of a container's own layer.

Each repetition has files of its own, so that the guest has none of them in its cache; the host has them all. What is
read once more is in the guest's cache: so long would it take if a volume cost nothing.
"""

import os
from pathlib import Path

from tests.performance.bench.figures import Report
from tests.performance.bench.images import BIG, BIG_FILES, SMALL_FILES, large_image
from tests.performance.bench.runtimes import Runtimes
from tests.performance.bench.sections.commands import OWN_PIDS, script_time
from tests.support.conformance_client import Container

VOLUME_BIG = 64
"""MiB of a large file of the volume."""
_READ_SMALL = "for f in $0/*; do read -r line < $f; done"
_WRITE_SMALL = f"mkdir $0; i=0; while [ $i -lt {SMALL_FILES} ]; do echo line > $0/$i; i=$((i+1)); done"


def measure(both: Runtimes, report: Report) -> None:
    """Measure the three places under both runtimes."""
    name = large_image(both)
    containers: dict[str, Container] = {}
    found: dict[str, list[tuple[str, float]]] = {}
    for side, cri in both.both().items():
        volume = _volume(both.directory / f"volume-{side}", report.repetitions)
        mounts = [{"host_path": str(volume), "container_path": "/volume"}]
        containers[side] = cri.run_pod().start(image=name, mounts=mounts, security=OWN_PIDS)
        found[side] = []
    for number in range(report.repetitions):
        for side, container in containers.items():
            found[side] += _all(container, number)
    for container in containers.values():
        container.pod.remove()
    report.compare("files", found)
    report.note_load()


def _all(container: Container, number: int) -> list[tuple[str, float]]:
    big = number % BIG_FILES
    scripts = {
        f"volume: read {VOLUME_BIG} MiB": _read(f"/volume/big-{number}"),
        f"volume: read {VOLUME_BIG} MiB once more": _read(f"/volume/big-{number}"),
        f"volume: write {BIG} MiB": f"dd if=/dev/zero of=/volume/new-{number} bs=1M count={BIG}",
        f"volume: read {SMALL_FILES} small files": _in(f"/volume/small-{number}", _READ_SMALL),
        f"volume: read {SMALL_FILES} small files once more": _in(f"/volume/small-{number}", _READ_SMALL),
        f"volume: write {SMALL_FILES} small files": _in(f"/volume/written-{number}", _WRITE_SMALL),
        f"image: read {BIG} MiB": _read(f"/bench/big-{big}"),
        f"image: read {SMALL_FILES} small files": _in(f"/bench/small-{big}", _READ_SMALL),
        f"own layer: write {BIG} MiB": f"dd if=/dev/zero of=/new-{number} bs=1M count={BIG}",
        f"own layer: write {SMALL_FILES} small files": _in(f"/written-{number}", _WRITE_SMALL),
    }
    return [(name, script_time(container, script)) for name, script in scripts.items()]


def _read(file: str) -> str:
    """Read a file into memory. The cat(1) of busybox has the kernel pass it on (sendfile), and reads nothing itself."""
    return f"dd if={file} of=/dev/null bs=1M"


def _in(directory: str, script: str) -> str:
    return script.replace("$0", directory)


def _volume(directory: Path, repetitions: int) -> Path:
    directory.mkdir()
    for number in range(repetitions):
        (directory / f"big-{number}").write_bytes(os.urandom(VOLUME_BIG << 20))
        small = directory / f"small-{number}"
        small.mkdir()
        for name in range(SMALL_FILES):
            (small / str(name)).write_text("line\n")
    return directory
