"""The streaming server over real sockets: URLs, refusals, and clients that are strangers to it."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.streaming import LocalTargets
from tests.support.streaming import exec_of, run, sent_away, wanted_of
from tests.support.waiting import until
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from vmsandbox.model import AttachRequest, DebugRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming import client
from vmsandbox.streaming.server import StreamingServer


@pytest.fixture
async def running(targets: LocalTargets) -> AsyncIterator[StreamingServer]:
    async with StreamingServer(targets, StreamingConfig(), head_timeout=0.5).running() as streaming:
        yield streaming


async def test_requests_that_can_never_be_served_are_refused_when_the_url_is_asked_for(
    running: StreamingServer,
) -> None:
    with pytest.raises(InvalidArgument):
        running.exec_url(ExecRequest("c", ("true",)))
    with pytest.raises(InvalidArgument):
        running.exec_url(ExecRequest("c", (), stdout=True))
    with pytest.raises(InvalidArgument):
        running.exec_url(ExecRequest("c", ("true",), stdout=True, stderr=True, tty=True))
    with pytest.raises(NotFound):
        running.exec_url(ExecRequest("none", ("true",), stdout=True))
    with pytest.raises(FailedPrecondition):
        running.attach_url(AttachRequest("c", stdout=True))
    with pytest.raises(NotFound):
        running.debug_url(DebugRequest("none", stdout=True))
    with pytest.raises(InvalidArgument):
        running.debug_url(DebugRequest("s"))
    with pytest.raises(InvalidArgument):
        running.portforward_url(PortForwardRequest("s", (0,)))


async def test_a_command_in_a_guest_itself_is_served_like_one_in_a_container(running: StreamingServer) -> None:
    request = DebugRequest("s", ("sh", "-c", "exit 7"), stdout=True, stderr=True)
    async with client.command(running.debug_url(request), wanted_of(request)) as command:
        async for _ in command.output():
            pass
        assert command.exit_code == 7


async def test_a_url_serves_once_and_not_under_another_path(running: StreamingServer) -> None:
    request = exec_of("true")
    url = running.exec_url(request)
    with pytest.raises(PermissionDenied):
        async with client.command(url.replace("/exec/", "/attach/"), wanted_of(request)):
            pass
    async with client.command(url, wanted_of(request)) as command:
        async for _ in command.output():
            pass
        assert command.exit_code == 0
    with pytest.raises(PermissionDenied) as refused:
        async with client.command(url, wanted_of(request)):
            pass
    assert "404" in refused.value.evidence["answer"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], "400"),
        (["-H", "Connection: Upgrade", "-H", "Upgrade: SPDY/3.1"], "400"),
        (["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"], "400"),
        (
            ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 8"],
            "426",
        ),
        (["-H", "Connection: Upgrade", "-H", "Upgrade: SPDY/3.1", "-H", "X-Stream-Protocol-Version: v99"], "403"),
        (["-X", "DELETE"], "405"),
        (["-H", "X-Large: " + "x" * 40_000], "431"),
        (["--http2-prior-knowledge"], "000"),
        (["-d", "a body"], "400"),
    ],
)
async def test_curl_is_told_what_is_wrong(running: StreamingServer, arguments: list[str], status: str) -> None:
    url = running.exec_url(exec_of("true"))
    form = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "--max-time", "5", *arguments, url]
    process = await asyncio.create_subprocess_exec(*form, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert said.decode() == status


async def test_curl_is_told_that_there_is_nothing_elsewhere(running: StreamingServer) -> None:
    url = running.exec_url(exec_of("true")).rpartition("/")[0] + "/guess"
    upgrade = [
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: SPDY/3.1",
        "-H",
        "X-Stream-Protocol-Version: v4.channel.k8s.io",
    ]
    form = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", *upgrade, url]
    process = await asyncio.create_subprocess_exec(*form, stdout=subprocess.PIPE)
    assert (await process.communicate())[0] == b"404"


async def test_a_client_that_says_nothing_is_told_so_in_time(running: StreamingServer) -> None:
    host, port = running.exec_url(exec_of("true")).split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_an_address_or_certificate_that_cannot_be_used_is_said_so(targets: LocalTargets, tmp_path: Path) -> None:
    missing = StreamingConfig(tls_certificate=tmp_path / "none", tls_key=tmp_path / "none")
    for config in (StreamingConfig(address="192.0.2.1"), missing):
        with pytest.raises(FailedPrecondition, match="cannot listen"):
            async with StreamingServer(targets, config).running():
                pass


@pytest.mark.parametrize(("address", "host"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")])
async def test_the_url_is_one_that_this_host_reaches(targets: LocalTargets, address: str, host: str) -> None:
    async with StreamingServer(targets, StreamingConfig(address=address)).running() as streaming:
        assert streaming.exec_url(exec_of("true")).startswith(f"http://{host}:")
        assert await run(streaming, exec_of("echo", "here")) == (b"here\n", b"", 0)


def held() -> tuple[int, int, int]:
    """Descriptors, threads and tasks of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks())


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_200_clients_that_are_silent_vanish_or_send_garbage_leave_nothing_behind(
    running: StreamingServer, targets: LocalTargets
) -> None:
    host, port = running.exec_url(exec_of("true")).split("/")[2].split(":")
    await run(running, exec_of("true"))  # What is made once is made now.
    await until(lambda: len(asyncio.all_tasks()) == 1)
    before, memory = held(), resident()
    request = exec_of("sleep", "1000", stdin=True)
    connections: list[socket.socket] = []
    for number in range(200):
        connection = socket.create_connection((host, int(port)))
        connections.append(connection)
        match number % 5:
            case 1:  # Half of a request.
                connection.send(b"GET /exec/x HTTP/1.1\r\nHost:")
            case 2:
                connection.send(random.Random(number).randbytes(3000))
            case 3 | 4:  # A valid request, after which it sends garbage, or says nothing.
                path = "/" + running.exec_url(request).split("/", 3)[3]
                connection.send(
                    f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                    "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n".encode()
                )
                if number % 5 == 3:
                    connection.send(random.Random(number).randbytes(3000))
        await asyncio.sleep(0)
    assert await run(running, exec_of("echo", "served meanwhile")) == (b"served meanwhile\n", b"", 0)
    for connection in connections[::2]:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # A reset, not an end.
    for connection in connections:
        connection.close()
    connections.clear()
    await until(lambda: held() == before)
    assert len(targets.processes) == 2, "none of them started anything"
    assert resident() - memory < 20_000_000


async def test_strangers_beyond_the_limit_push_the_oldest_out(
    targets: LocalTargets,
) -> None:
    async with StreamingServer(targets, StreamingConfig(), most_strangers=3).running() as running:
        host, port = running.exec_url(exec_of("true")).split("/")[2].split(":")
        pairs = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        async with asyncio.timeout(0.4):
            assert await pairs[0][0].read() == b""
            assert await pairs[1][0].read() == b""
        assert not pairs[4][0].at_eof()
        for _, writer in pairs:
            writer.close()


async def test_strangers_that_come_all_at_once_push_each_other_out(
    targets: LocalTargets,
) -> None:
    async with StreamingServer(targets, StreamingConfig(), most_strangers=3).running() as running:
        host, port = running.exec_url(exec_of("true")).split("/")[2].split(":")
        with contextlib.ExitStack() as stack:
            strangers = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(50)]
            await until(lambda: sum(map(sent_away, strangers)) == 47)
