import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.pod_observer import RecordingObserver
from tests.support.manifests import pod
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.model import Output
from vmsandbox.pod.api.container import Container
from vmsandbox.pod.run import actions
from vmsandbox.pod.run.observer import OutputLine
from vmsandbox.pod.run.output_lines import LONGEST, LineSplitter, Tail, tell_lines
from vmsandbox.protocol.messages import Stream


@contextlib.asynccontextmanager
async def listening(answer: bytes | None, seen: list[bytes]) -> AsyncIterator[int]:
    """A server that reads a request and gives this answer; None: it never answers."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            await reader.read()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


def container(probe: str, port: int) -> Container:
    text = f"""
    containers:
      - name: a
        image: b
        ports: [{{name: web, containerPort: {port}}}]
        livenessProbe: {{{probe}}}
    """
    return pod(text).pod.spec.containers[0]


async def get(port: int, probe: str = "httpGet: {port: web}", timeout: float = 5) -> None:
    probed = container(probe, port)
    assert probed.liveness_probe and probed.liveness_probe.http_get
    await actions.get("127.0.0.1", probed.liveness_probe.http_get, probed, timeout)


async def test_a_request_names_host_path_and_headers() -> None:
    seen: list[bytes] = []
    async with listening(b"HTTP/1.1 204 No Content\r\n\r\n", seen) as port:
        await get(
            port, "httpGet: {port: web, path: '/a?b=c', httpHeaders: [{name: X-Y, value: z}, {name: host, value: h}]}"
        )
    head, *headers = seen[0].decode().split("\r\n")
    assert head == "GET /a?b=c HTTP/1.1"
    assert "X-Y: z" in headers
    assert [header for header in headers if header.lower().startswith("host:")] == ["host: h"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (399, True), (400, False), (503, False)])
async def test_a_status_below_400_is_healthy(status: int, healthy: bool) -> None:
    async with listening(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode(), []) as port:
        if healthy:
            await get(port)
        else:
            with pytest.raises(Unavailable, match=f"status {status}"):
                await get(port)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", Unavailable),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, Unavailable),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, DeadlineExceeded),
        (None, DeadlineExceeded),
    ],
    ids=["no HTTP", "endless header", "only continues", "silence"],
)
async def test_a_hostile_server_only_fails_the_probe(answer: bytes | None, error: type[VmsandboxError]) -> None:
    async with listening(answer, []) as port:
        with pytest.raises(error):
            await get(port, timeout=0.5)


async def test_without_a_listener_there_is_no_connection() -> None:
    async with listening(None, []) as port:
        pass
    with pytest.raises(Unavailable, match=f"no connection to 127.0.0.1, port {port}"):
        await get(port)
    probed = container(f"tcpSocket: {{port: {port}}}", 1)
    assert probed.liveness_probe and probed.liveness_probe.tcp_socket
    with pytest.raises(Unavailable, match="no connection"):
        await actions.connect("127.0.0.1", probed.liveness_probe.tcp_socket, probed, 5)


async def test_a_connection_is_enough_for_a_tcp_probe() -> None:
    async with listening(None, []) as port:
        probed = container("tcpSocket: {port: web}", port)
        assert probed.liveness_probe and probed.liveness_probe.tcp_socket
        await actions.connect("127.0.0.1", probed.liveness_probe.tcp_socket, probed, 5)


@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"x", b"\n"))))
def test_lines_put_together_are_the_output(pieces: list[bytes]) -> None:
    splitter = LineSplitter("a", Stream.STDOUT)
    lines = [line for piece in pieces for line in splitter.feed(piece)] + list(splitter.end())
    assert b"".join(line.text + (b"\n" if line.complete else b"") for line in lines) == b"".join(pieces)
    assert all(b"\n" not in line.text for line in lines)
    assert all(line.complete for line in lines[:-1])


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("size", [LONGEST, LONGEST + 1, 3 * LONGEST, 3 * LONGEST + 5])
def test_a_long_line_comes_in_parts(size: int, end: bytes) -> None:
    splitter = LineSplitter("a", Stream.STDOUT)
    lines = [*splitter.feed(b"y" * size + end), *splitter.end()]
    assert b"".join(line.text for line in lines) == b"y" * size
    assert all(len(line.text) <= LONGEST for line in lines)
    assert [line.complete for line in lines] == [False] * (len(lines) - 1) + [bool(end)]


async def test_output_that_nobody_takes_is_closed_at_once() -> None:
    closed: list[bool] = []

    async def pieces():
        try:
            yield Output(Stream.STDOUT, b"a\n")
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    class Full(RecordingObserver):
        async def output(self, lines: Sequence[OutputLine]) -> None:
            raise FailedPrecondition("no space left")

    with pytest.raises(FailedPrecondition):
        await tell_lines("c", pieces(), Full(), Tail())
    assert closed


async def test_streams_have_lines_of_their_own() -> None:
    async def pieces():
        for piece in (Output(Stream.STDOUT, b"a"), Output(Stream.STDERR, b"x\ny"), Output(Stream.STDOUT, b"b\n")):
            yield piece

    observer, tail = RecordingObserver(), Tail()
    await tell_lines("c", pieces(), observer, tail)
    assert observer.lines == [
        OutputLine("c", Stream.STDERR, b"x"),
        OutputLine("c", Stream.STDOUT, b"ab"),
        OutputLine("c", Stream.STDERR, b"y", complete=False),
    ]
    assert tail.text == "ax\nyb\n"


def test_the_tail_is_bounded_in_lines_and_bytes() -> None:
    tail = Tail()
    tail.feed(b"".join(b"%d\n" % number for number in range(1000)))
    assert tail.text == "".join(f"{number}\n" for number in range(920, 1000))
    tail.feed(b"z" * 5000)
    assert tail.text == "z" * 2048


@pytest.mark.parametrize("action", ["httpGet", "tcpSocket"])
async def test_a_probe_of_a_pod_without_an_address_does_not_reach_this_host(action: str) -> None:
    seen: list[bytes] = []
    async with listening(b"HTTP/1.1 200 OK\r\n\r\n", seen) as port:
        probed = container(f"{action}: {{port: web}}", port)
        probe = probed.liveness_probe
        assert probe
        with pytest.raises(Unavailable, match="the pod has no network"):
            if probe.http_get:
                await actions.get("", probe.http_get, probed, 5)
            elif probe.tcp_socket:
                await actions.connect("", probe.tcp_socket, probed, 5)
    assert seen == []
