"""Twenty pods asked for at once: none fails, none gets what another has, and the daemon goes on answering."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance import Serving
from tests.support.conformance_client import Cri, Pod

PODS = 20
ANSWER_WITHIN = 0.1
"""Seconds in which ListPodSandbox answers, whatever the daemon is doing."""


@contextmanager
def listing(cri: Cri) -> Iterator[list[float]]:
    """List pods all the while; how long each answer took."""
    took: list[float] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(0.1):
            started = time.monotonic()
            cri.list_pods()
            took.append(time.monotonic() - started)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield took
    finally:
        done.set()
        thread.join()


@pytest.mark.timeout(900)
def test_twenty_pods_at_once(cri: Cri, daemon: Serving) -> None:
    with listing(cri) as took, ThreadPoolExecutor(PODS) as pool:
        pods = list(pool.map(lambda _: cri.run_pod("small"), range(PODS)))
        statuses = [pod.status() for pod in pods]
        list(pool.map(Pod.remove, pods))
    assert [status.state for status in statuses] == [pb.SANDBOX_READY] * PODS
    assert len({status.metadata.name for status in statuses}) == PODS
    assert len({status.network.ip for status in statuses}) == PODS
    assert len({status.network.additional_ips[0].ip for status in statuses}) == PODS
    took.sort()
    assert took[int(len(took) * 0.99)] < ANSWER_WITHIN, f"the slowest answers took {took[-5:]} s"
