"""The rate of exec and port-forward each way, compared with a plain stream over the same vsock device.

    python -m tests.performance.throughput [MB]

The plain stream is raw vsock, dialled by the transport of `vmsandbox.guest` past the agent and the daemon; `carrier`
has the guest's end. Every transfer carries bytes of its own, whose SHA-256 has to be the same at both ends; hashing is
not timed, but the start of exec's command is.
"""

import asyncio
import contextlib
import functools
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from types import ModuleType

from tests.performance.carrier import FILE, PORT, Carried, Channel, Executed, Way, plain, running
from tests.support import spdy_client
from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Container
from vmsandbox.config import load
from vmsandbox.cri.client import CriClient, connected
from vmsandbox.guest.transport.connection import Transport
from vmsandbox.model import ExecRequest, PortForwardRequest
from vmsandbox.node.host import open_transports
from vmsandbox.streaming import client as websocket_client

MB = 1_000_000
MIB = 1024 * 1024


async def main(count: int) -> None:
    """Print a table."""
    machine = {"memory": f"{256 + 3 * count // MIB}Mi", "boot_deadline": 180}
    with serving({"machine": machine}) as daemon, running(daemon.cri) as container:
        async with connected(daemon.directory / "cri.sock") as client:
            base: tuple[float, float] | None = None
            for name, way in _ways(daemon, client, container).items():
                rates = await _measure(way, count, container)
                base = base or rates
                _print(name, rates, base)


def _ways(daemon: Serving, client: CriClient, container: Container) -> dict[str, Way]:
    def exec_url(*words: str, stdin: bool = False) -> Awaitable[str]:
        return client.exec_url(ExecRequest(container.id, words, stdin=stdin, stdout=True))

    @contextlib.asynccontextmanager
    async def forwarded(over: ModuleType) -> AsyncIterator[Channel]:
        url = await client.port_forward_url(PortForwardRequest(container.pod.id))
        async with over.port_forward(url) as forward, forward.connect(PORT) as channel:
            yield channel

    transport = _transport(daemon, container.pod.id)
    ways: dict[str, Way] = {"plain vsock": Carried(functools.partial(plain, transport))}
    for name, over in (("WebSocket", websocket_client), ("SPDY", spdy_client)):
        ways[f"exec, {name}"] = Executed(exec_url, over)
        ways[f"port-forward, {name}"] = Carried(functools.partial(forwarded, over))
    return ways


def _transport(daemon: Serving, sandbox_id: str) -> Transport:
    config = load(daemon.directory / "config.yaml")
    directory = config.run_directory / "serve" / "sandboxes" / sandbox_id / "vsock"
    return open_transports(config).reopen(sandbox_id, directory)


async def _measure(way: Way, count: int, container: Container) -> tuple[float, float]:
    """Bytes a second into the guest, and out of it; they are what was sent."""
    data = os.urandom(count)
    begin = time.monotonic()
    await way.put(data)
    inwards = count / (time.monotonic() - begin)
    digest = await asyncio.to_thread(container.exec, "sha256sum", FILE, timeout=600)
    assert digest.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest(), "what came in is another thing"
    begin = time.monotonic()
    got = await way.get()
    outwards = count / (time.monotonic() - begin)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest(), "what came out is another thing"
    return inwards, outwards


def _print(name: str, rates: tuple[float, float], base: tuple[float, float]) -> None:
    told = [
        f"{where} {rate / MIB:5.2f} MiB/s, {rate / plain:4.2f} of plain"
        for where, rate, plain in zip(("in", "out"), rates, base, strict=True)
    ]
    sys.stdout.write(f"{name + ':':24} {'; '.join(told)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main((int(sys.argv[1]) if len(sys.argv) > 1 else 100) * MB))
