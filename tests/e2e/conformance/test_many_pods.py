"""Pods asked for at once: none fails, none gets what another has, and the daemon goes on answering.

VMSANDBOX_PODS is how many; twenty take an emulating machine with two processors minutes.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance import Serving
from tests.support.conformance_client import Cri, Pod
from tests.support.listing import listing

PODS = int(os.environ.get("VMSANDBOX_PODS", "8"))


def said_by_processes(daemon: Serving, pattern: str) -> list[str]:
    """Return the words of the command lines of machines and helpers, each once per process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
        if str(daemon.directory) in line and (match := re.search(pattern, line)):
            found.append(match[1])
    return found


@pytest.mark.timeout(900)
def test_many_pods_at_once(cri: Cri, daemon: Serving) -> None:
    with listing(cri) as answers, ThreadPoolExecutor(PODS) as pool:
        pods = list(pool.map(lambda _: cri.run_pod("small"), range(PODS)))
        statuses = [pod.status() for pod in pods]
        cids = said_by_processes(daemon, r"guest-cid\D{1,3}(\d+)")
        names = said_by_processes(daemon, r"guest=([\w-]+)")
        list(pool.map(Pod.remove, pods))
    assert [status.state for status in statuses] == [pb.SANDBOX_READY] * PODS
    assert len({status.metadata.name for status in statuses}) == PODS
    assert len({status.network.ip for status in statuses}) == PODS
    assert len({status.network.additional_ips[0].ip for status in statuses}) == PODS
    for given in (cids, names):  # there may be machines of other tests
        assert len(given) >= PODS and len(set(given)) == len(given)
    assert answers  # how long they took: tests/performance/many_pods.py
