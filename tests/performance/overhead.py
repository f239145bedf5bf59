"""The memory that it takes to run a machine, besides its guest's: that of QEMU, virtiofsd and the vsock daemon.

    python -m tests.performance.overhead [SECONDS]

A pod of the default size is measured idle, and while a container runs programs of this host for SECONDS: all that
/usr/bin has, Python with all of its modules, and Perl, from a volume, so that virtiofsd works and much code is
translated. Then it runs 16 MiB of machine code that it has made, again and again: more than QEMU keeps translated under
TCG, so that the bound of that is reached. Each figure is the most that was seen. Numbers are MiB.
"""

import sys
import time
from pathlib import Path

from tests.performance.proportional import MIB, pss_by_kind
from tests.support.conformance import serving
from tests.support.conformance_client import Pod

PARENT = f"/overhead-{int(time.time())}"

PROGRAMS = """
export PATH=/usr/bin:/usr/sbin:/bin LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
run() { timeout 20 /usr/lib64/ld-linux-x86-64.so.2 "$@" </dev/null >/dev/null 2>&1; }
while :; do
    run /usr/bin/python3 -c 'import pkgutil, importlib
for module in pkgutil.iter_modules():
    if module.name not in ("antigravity", "this", "idlelib", "turtledemo"):
        try: importlib.import_module(module.name)
        except BaseException: pass'
    run /usr/bin/perl -e 'my %h;$h{$_ % 977} .= sprintf("%x", $_ * 7) for 1..200000; print join "", sort values %h'
    for program in /usr/bin/*; do run "$program" --version; done
done
"""


MACHINE_CODE = """
LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu exec /usr/lib64/ld-linux-x86-64.so.2 /usr/bin/python3 -c '
import ctypes, mmap
size = 16 << 20
memory = mmap.mmap(-1, size, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
for page in range(0, size, 4096):
    memory[page:page + 4096] = b"\\xff\\x07" * 2047 + b"\\x90\\x90"  # incl (%rdi), nop
memory[size - 1:size] = b"\\xc3"  # ret
run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
counter = ctypes.c_uint()
while True:
    run(ctypes.addressof(counter))
    print(counter.value, flush=True)
'
"""
"""Each page is code of its own; each of its instructions takes fifty times its size when it is translated."""


def main(seconds: float) -> None:
    """Print a table."""
    with serving() as daemon, daemon.cri.pod(linux={"cgroup_parent": PARENT}) as pod:
        pod.start()
        time.sleep(5)
        idle = measure(pod)
        volume = {"mounts": [{"host_path": "/usr", "container_path": "/usr", "readonly": True}]}
        figures = {"idle": idle}
        for title, script in (("programs", PROGRAMS), ("machine code", MACHINE_CODE)):
            load = pod.start("/bin/sh", "-c", script, **volume)
            figures[title] = _most(pod, seconds)
            load.stop(0)
        figures["after it"] = measure(pod)
        _print(figures)


def _most(pod: Pod, seconds: float) -> dict[str, float]:
    """Return the most that each part has taken within some seconds."""
    most: dict[str, float] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(5)
        most = {name: max(value, most.get(name, 0)) for name, value in measure(pod).items()}
    return most


def measure(pod: Pod) -> dict[str, float]:
    """Return the memory of each part now."""
    found: dict[str, float] = {}
    for pid in _pids(pod):
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        for kind, size in pss_by_kind(pid).items():
            found[f"{name}: {kind}"] = found.get(f"{name}: {kind}", 0) + size / MIB
        tables = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmPTE"))
        found[f"{name}: page tables"] = found.get(f"{name}: page tables", 0) + int(tables.split()[1]) / 1024
    cgroup = _cgroup(pod)
    found["cgroup: charged"] = int((cgroup / "memory.usage_in_bytes").read_text()) / MIB
    for line in (cgroup / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("cache", "rss", "shmem"):
            found[f"cgroup: {name}"] = int(value) / MIB
    found["cgroup: limit"] = int((cgroup / "memory.limit_in_bytes").read_text()) / MIB
    return found


def _cgroup(pod: Pod) -> Path:
    return Path(f"/sys/fs/cgroup/memory{PARENT}/vmsandbox-{pod.id}")


def _pids(pod: Pod) -> list[int]:
    return [int(pid) for pid in (_cgroup(pod) / "cgroup.procs").read_text().split()]


def _print(figures: dict[str, dict[str, float]]) -> None:
    sys.stdout.write(f"| | {' | '.join(figures)} |\n|---{'|---' * len(figures)}|\n")
    for name in sorted({name for each in figures.values() for name in each}):
        values = (f"{each.get(name, 0):.1f}" for each in figures.values())
        sys.stdout.write(f"| {name} | {' | '.join(values)} |\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 120)
