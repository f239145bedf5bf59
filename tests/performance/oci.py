"""How long `podman run --rm IMAGE true` takes with our machines, with and without a pool, and with runc.

All in one run; also the memory of the processes that stand for containers on the host.
Run it as root: `python -m tests.performance.oci`. With crun podman runs nothing on a host of hybrid cgroups.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cri_api.v1 import api_pb2 as pb

from tests.performance.proportional import pss_by_kind
from tests.standins.images import BUSYBOX
from tests.support.conformance import Serving, serving
from tests.support.conformance_client import eventually
from tests.support.podman import Podman, podman_of

_TIMES = 3
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
"""Raising limits is refused to runc on some machines."""
_FULL_WITHIN = 300.0
_KINDS: Mapping[str, Mapping[str, Any]] = {
    "a machine that boots": {},
    "a machine of the pool": {"template": "auto", "pool": {"size": 1}},
}


def main() -> None:
    """Print a table of Markdown."""
    times = int(sys.argv[1]) if sys.argv[1:] else _TIMES
    _say("| podman run --rm --network none IMAGE true | seconds | load |\n|---|---|---|")
    for kind, machine in _KINDS.items():
        _measure(kind, machine, times)


def _measure(kind: str, machine: Mapping[str, Any], times: int) -> None:
    settings = {"machine": {"memory": "192Mi", "boot_deadline": 180, **machine}}
    with serving(settings) as daemon, podman_of(daemon.directory) as podman:
        taken: dict[str, list[float]] = {kind: [], "runc": []}
        for _ in range(times):
            _wait_for_pool(daemon, "pool" in machine)
            taken[kind].append(_run(podman))
            taken["runc"].append(_run(podman, "--runtime", "runc"))
        for name, seconds in taken.items():
            _say(f"| {name} | {_spread(seconds)} | {os.getloadavg()[0]:.1f} |")
        if "pool" not in machine:
            _say(f"| memory (PSS) of a process on the host, MiB | {_spread(list(_proxies(podman)))} | |")


def _run(podman: Podman, *options: str) -> float:
    begun = time.monotonic()
    podman.output(*options, "run", "--rm", "--network", "none", *_LIMITS, BUSYBOX, "true")
    return time.monotonic() - begun


def _proxies(podman: Podman) -> Iterator[float]:
    """Yield the MiB of the processes that stand for two containers, and for a command in each."""
    for name in ("one", "two"):
        podman.output("run", "-d", "--name", name, "--network", "none", BUSYBOX, "sleep", "1000")
        podman.output("exec", "-d", name, "sleep", "1000")
    for pid in podman.processes():
        if Path(f"/proc/{pid}/comm").read_text() == "conmon\n":  # which names the runtime, too
            continue
        yield sum(pss_by_kind(pid).values()) / (1 << 20)


def _wait_for_pool(daemon: Serving, has_pool: bool) -> None:
    def full() -> bool:
        status = daemon.cri.runtime.Status(pb.StatusRequest(verbose=True))
        return any(pool["waiting"] for pool in json.loads(status.info["host"])["pools"])

    if has_pool:
        eventually(full, _FULL_WITHIN)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
