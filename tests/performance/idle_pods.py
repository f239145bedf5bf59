"""How much of the host idle pods take, each with a container, of machines from a template.

    python -m tests.performance.idle_pods [PODS [SETTINGS]]

SETTINGS are of the machine, in JSON: '{"max_memory": "2Gi"}'.

Three answers for the same pods: the memory that the host has lost (MemAvailable, in which other programs show), the
charge of their cgroup (with page tables and buffers), and their proportional shares (PSS), as `bench` counts them.
"""

import json
import re
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.performance.bench.sections.memory import GIVEN, parts_of, pids_below
from tests.performance.proportional import MIB
from tests.standins.images import BUSYBOX
from tests.support.conformance import Serving, serving
from tests.support.waiting import eventually

_MACHINE = {"memory": "192Mi", "boot_deadline": 600, "template": "auto"}
_LIMITS = {"memory": "64Gi"}  # A node admits pods by what they may take, and these take less.
_SETTLED = 30.0


def main(count: int, machine: Mapping[str, Any]) -> None:
    """Print a line for each way of counting, and the parts of the shares."""
    parent = f"/idle-{uuid.uuid4().hex[:8]}"
    with serving({"machine": {**_MACHINE, **machine}, "limits": _LIMITS}) as daemon:
        daemon.cri.pull(BUSYBOX)
        daemon.cri.run_pod().remove()
        eventually(lambda: _has_template(daemon), timeout=600)
        before = _available()
        for number in range(count):
            daemon.cri.run_pod(linux={"cgroup_parent": parent}).start()
            sys.stderr.write(f"{number + 1} pods, {_available() / MIB:.0f} MiB available\n")
        time.sleep(_SETTLED)
        lost, charged = before - _available(), _charged(parent)
        parts = {name: size / count for name, size in parts_of(pids_below(parent)).items()}
    whole = sum(parts.values())
    _say(f"{count} pods: less MemAvailable", lost / MIB / count)
    _say("charged to their cgroup", charged / MIB / count)
    _say("PSS", whole)
    _say("PSS without translated code", whole - parts.get("translated code", 0))
    for name, size in parts.items():
        sys.stdout.write(f"  {name}: {size:.1f} MiB\n")


def _say(what: str, each: float) -> None:
    sys.stdout.write(f"{what}: {each:.1f} MiB each, {int(GIVEN / each)} pods on 24 GiB\n")


def _has_template(daemon: Serving) -> bool:
    templates = daemon.directory / "state/serve/templates"
    return any(templates.glob("*/template.json")) and not any(templates.glob("making-*"))


def _available() -> int:
    match = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert match
    return int(match[1]) << 10


def _charged(parent: str) -> int:
    """Bytes of the memory controller (cgroup-v1/memory.rst), without the cache of files."""
    directory = Path(f"/sys/fs/cgroup/memory{parent}")
    stat = dict(line.split() for line in (directory / "memory.stat").read_text().splitlines())
    files = int(stat["total_inactive_file"]) + int(stat["total_active_file"])
    return int((directory / "memory.usage_in_bytes").read_text()) - files


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
