"""Twenty pods asked for at once: none fails, none gets what another has, and the daemon goes on answering."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance import Serving
from tests.support.conformance_client import Cri, Pod

PODS = 20
PAUSE = 0.1
ANSWER_WITHIN = 0.1
"""Seconds in which ListPodSandbox answers, whatever the daemon is doing."""


@contextmanager
def listing(cri: Cri) -> Iterator[tuple[list[float], list[float]]]:
    """List pods all the while: how long each answer took, and how late this thread itself awoke before each."""
    took: list[float] = []
    late: list[float] = []
    done = threading.Event()

    def go_on() -> None:
        slept = time.monotonic()
        while not done.wait(PAUSE):
            asked = time.monotonic()
            late.append(asked - slept - PAUSE)
            cri.list_pods()
            slept = time.monotonic()
            took.append(slept - asked)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield took, late
    finally:
        done.set()
        thread.join()


def said_by_processes(daemon: Serving, pattern: str) -> list[str]:
    """What the command lines of the daemon's machines and their helpers say, each once per process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
        if str(daemon.directory) in line and (match := re.search(pattern, line)):
            found.append(match[1])
    return found


def nearly_all(values: list[float]) -> float:
    """What 99 of 100 do not exceed."""
    return sorted(values)[int(len(values) * 0.99)]


@pytest.mark.timeout(900)
def test_twenty_pods_at_once(cri: Cri, daemon: Serving) -> None:
    with listing(cri) as (took, late), ThreadPoolExecutor(PODS) as pool:
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
    # Twenty machines share the processors with the daemon: only what it is late beyond that is its own doing.
    assert nearly_all(took) - nearly_all(late) < ANSWER_WITHIN, (
        f"{nearly_all(took):.3f} s, {nearly_all(late):.3f} s late"
    )
