"""The streaming server over real sockets: commands are processes of this host, and the clients ours and others'."""

import asyncio
import contextlib
import gc
import hashlib
import os
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kubernetes.client import Configuration
from kubernetes.stream.ws_client import PortForward as PythonPortForward
from kubernetes.stream.ws_client import WSClient, create_websocket

from tests.fakes.streaming import LocalProcess, LocalTargets
from tests.support import spdy_client
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable
from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming import client
from vmsandbox.streaming.client.dialling import dial
from vmsandbox.streaming.io import wire
from vmsandbox.streaming.io.sockets import client_tls
from vmsandbox.streaming.io.wire import Wire
from vmsandbox.streaming.protocol import stream_pairs
from vmsandbox.streaming.protocol.remote_command import Wanted
from vmsandbox.streaming.protocol.spdy import frames
from vmsandbox.streaming.server import connections
from vmsandbox.streaming.server.commands import serve_command
from vmsandbox.streaming.server.server import StreamingServer

PATTERN = random.Random(5).randbytes(3_000_000)


@pytest.fixture
async def running(targets: LocalTargets) -> AsyncIterator[StreamingServer]:
    async with StreamingServer(targets, StreamingConfig(), head_timeout=0.5).running() as streaming:
        yield streaming


def exec_of(*command: str, stdin: bool = False, tty: bool = False) -> ExecRequest:
    return ExecRequest("c", command, stdin=stdin, tty=tty, stdout=True, stderr=not tty)


def wanted_of(request: ExecRequest | AttachRequest) -> Wanted:
    return Wanted(request.stdin, request.stdout, request.stderr, request.tty)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # What is waited for is in another process, or in the kernel.
            await asyncio.sleep(0.01)


TRANSPORTS = pytest.mark.parametrize("over", [client, spdy_client], ids=["WebSocket", "SPDY"])


async def run(
    streaming: StreamingServer,
    request: ExecRequest,
    typed: bytes | None = None,
    over: ModuleType = client,
    tls: ssl.SSLContext | None = None,
) -> tuple[bytes, bytes, int]:
    """Run a command with our client; what it printed on both streams, and its exit code."""
    trust = () if tls is None else (tls,)
    async with over.command(streaming.exec_url(request), wanted_of(request), *trust) as command:

        async def type_in() -> None:
            if typed is not None:
                for start in range(0, len(typed), 50_000):
                    await command.write(typed[start : start + 50_000])
                await command.close_stdin()

        typing = asyncio.create_task(type_in())
        printed = {Stream.STDOUT: b"", Stream.STDERR: b""}
        async for output in command.output():
            printed[output.stream] += output.data
        await typing
        return printed[Stream.STDOUT], printed[Stream.STDERR], command.exit_code


async def test_a_command_gives_both_streams_and_its_exit_code(running: StreamingServer) -> None:
    assert await run(running, exec_of("sh", "-c", "echo out; echo err >&2; exit 7")) == (b"out\n", b"err\n", 7)


@TRANSPORTS
async def test_input_ends_and_comes_back_whole(running: StreamingServer, over: ModuleType) -> None:
    out, _, code = await run(running, exec_of("cat", stdin=True), PATTERN, over)
    assert out == PATTERN
    assert code == 0


async def test_a_terminal_has_its_window_and_takes_control_characters(running: StreamingServer) -> None:
    script = (
        "echo ready; while [ \"$(stty size)\" != '41 133' ]; do sleep 0.02; done; echo resized; cat; echo ended; "
        "trap 'echo interrupted; exit 5' INT; echo trapped; while :; do sleep 0.02; done"
    )
    request = exec_of("sh", "-c", script, stdin=True, tty=True)
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        output = command.output()
        seen = b""

        async def until_seen(text: bytes) -> None:
            nonlocal seen
            async with asyncio.timeout(10):
                while text not in seen:
                    seen += (await anext(output)).data

        await until_seen(b"ready\r\n")
        await command.resize(133, 41)
        await until_seen(b"resized")
        await command.write(b"typed\n")
        await until_seen(b"typed\r\ntyped\r\n")
        await command.write(b"\x04")  # Ctrl-D
        await until_seen(b"ended")
        await until_seen(b"trapped")
        await command.write(b"\x03")  # Ctrl-C
        await until_seen(b"interrupted")
        async for _ in output:
            pass
        assert command.exit_code == 5


async def test_a_window_that_could_not_be_told_is_not_the_last(
    running: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    async def resize(self: LocalProcess, columns: int, rows: int) -> None:
        sizes.append((columns, rows))
        raise Unavailable("the connection to the guest was lost meanwhile")

    monkeypatch.setattr(LocalProcess, "resize", resize)
    request = exec_of("cat", stdin=True, tty=True)
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        for size in ((80, 24), (133, 41)):
            await command.resize(*size)
            await until(lambda size=size: sizes[-1:] == [size])  # type: ignore[misc]


async def test_what_fails_before_the_command_runs_is_told(running: StreamingServer, targets: LocalTargets) -> None:
    @contextlib.asynccontextmanager
    async def failing(_: ExecRequest) -> AsyncIterator[None]:
        raise Unavailable("the machine is gone")
        yield

    targets.exec = failing  # type: ignore[method-assign,assignment]
    with pytest.raises(FailedPrecondition, match="the machine is gone"):
        await run(running, exec_of("true"))


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
    with pytest.raises(InvalidArgument):
        running.portforward_url(PortForwardRequest("s", (0,)))


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


async def test_a_client_that_vanishes_ends_its_command(running: StreamingServer, targets: LocalTargets) -> None:
    request = exec_of("sleep", "1000")
    async with client.command(running.exec_url(request), wanted_of(request)):
        await until(lambda: len(targets.processes) == 1)
    await until(lambda: targets.ended == 1)
    assert targets.processes[0].process.returncode is not None


async def test_a_client_that_vanishes_is_noticed_also_while_its_input_is_not_taken(
    running: StreamingServer, targets: LocalTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEARTBEAT", 0.2)
    request = exec_of("sleep", "1000", stdin=True)
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                while True:
                    await command.write(bytes(100_000))
    await until(lambda: targets.ended == 1)


async def test_a_client_that_takes_nothing_holds_its_command_back_and_vanishes_as_any_other(
    running: StreamingServer, targets: LocalTargets
) -> None:
    request = exec_of("sh", "-c", "head -c 50000000 /dev/zero; sleep 1000")
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        assert (await anext(command.output())).data
        taken = -1
        while taken != targets.processes[0].taken:
            taken = targets.processes[0].taken
            await asyncio.sleep(0.1)
        assert taken < 20_000_000, "what sockets and buffers hold"
    await until(lambda: targets.ended == 1)


async def test_an_idle_connection_is_ended(targets: LocalTargets) -> None:
    async with StreamingServer(targets, StreamingConfig(), idle_timeout=0.3).running() as streaming:
        request = exec_of("sleep", "1000")
        async with client.command(streaming.exec_url(request), wanted_of(request)) as command:
            with contextlib.suppress(Unavailable):
                async for _ in command.output():
                    pass
            with pytest.raises(Unavailable):
                _ = command.exit_code
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert targets.ended == len(targets.processes)


async def test_a_connection_is_not_idle_while_a_command_prints_that_reads_no_input(targets: LocalTargets) -> None:
    """Its input fills up, and the client is not read from."""
    async with StreamingServer(targets, StreamingConfig(), idle_timeout=1).running() as streaming:
        printing = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $n; sleep 0.2; done"
        output, _, code = await run(streaming, exec_of("sh", "-c", printing, stdin=True), PATTERN)
        assert (output.split()[-1], code) == (b"12", 0)
        request = exec_of("sleep", "1000", stdin=True)
        async with client.command(streaming.exec_url(request), wanted_of(request)) as command:
            writing = asyncio.create_task(command.write(PATTERN))
            async with asyncio.timeout(10):
                with pytest.raises(Unavailable):
                    async for _ in command.output():
                        pass
                    _ = command.exit_code
            await asyncio.gather(writing, return_exceptions=True)


async def test_the_end_of_the_server_ends_its_clients_commands(targets: LocalTargets) -> None:
    async with StreamingServer(targets, StreamingConfig()).running() as streaming:
        request = exec_of("sleep", "1000")
        context = client.command(streaming.exec_url(request), wanted_of(request))
        command = await context.__aenter__()
        await until(lambda: len(targets.processes) == 1)
    assert targets.ended == 1
    with contextlib.suppress(Unavailable):
        async for _ in command.output():
            pass
    await context.__aexit__(None, None, None)


async def echo_server() -> asyncio.Server:
    """It sends everything back, in capitals, and its end after the client's."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@TRANSPORTS
async def test_connections_to_ports_go_side_by_side_with_half_closes(
    running: StreamingServer, over: ModuleType
) -> None:
    text = PATTERN.hex().encode()[:2_000_000]
    async with await echo_server() as echo, over.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
        port = echo.sockets[0].getsockname()[1]

        async def through() -> bytes:
            async with pf.connect(port) as connection:

                async def write() -> None:
                    await connection.write(text)
                    await connection.close_write()

                writing = asyncio.create_task(write())
                got = b""
                while data := await connection.read():
                    got += data
                await writing
                return got

        async with asyncio.timeout(30):
            assert await asyncio.gather(*(through() for _ in range(5))) == [text.upper()] * 5


async def test_a_port_where_nobody_listens_concerns_its_connection_alone(running: StreamingServer) -> None:
    async with await echo_server() as echo, client.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
        async with pf.connect(1) as connection:
            with pytest.raises(Unavailable) as refused:
                await connection.read()
            assert "port 1" in str(refused.value.evidence)
        async with pf.connect(echo.sockets[0].getsockname()[1]) as connection:
            await connection.write(b"still here")
            assert await connection.read() == b"STILL HERE"


async def test_a_forwarded_connection_ends_with_its_client(running: StreamingServer, targets: LocalTargets) -> None:
    async with await echo_server() as echo, client.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
        async with pf.connect(echo.sockets[0].getsockname()[1]) as connection:
            await connection.write(b"x")
            assert await connection.read() == b"X"
        await until(lambda: targets.ended == 1)


async def test_over_channels_the_end_of_all_ports_is_the_connections_whatever_the_client_does(
    running: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LINGER", 0.1)
    url = running.portforward_url(PortForwardRequest("s", (1,)))
    reader, writer, _ = await dial(url, ("v4.channel.k8s.io",))
    try:
        async with asyncio.timeout(5):
            while await reader.read(4096):  # That nobody listens there, and a close that is not answered.
                pass
    finally:
        writer.close()


def timers() -> int:
    """What is to be called later (`until` itself has one)."""
    handles = [one for one in gc.get_objects() if isinstance(one, asyncio.TimerHandle) and not one.cancelled()]
    return len([one for one in handles if one._loop is asyncio.get_running_loop()])  # type: ignore[attr-defined]


async def test_neither_a_connection_that_came_about_nor_a_client_that_left_is_timed_any_more(
    running: StreamingServer, targets: LocalTargets
) -> None:
    async with await echo_server() as echo:
        port = echo.sockets[0].getsockname()[1]
        before = timers()
        async with client.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
            for _ in range(5):
                async with pf.connect(port) as connection:
                    await connection.write(b"x")
                    assert await connection.read() == b"X"
            await until(lambda: targets.ended == 5)
            idle = before + 2  # One for either end.
            assert timers() == idle
            half = {
                stream_pairs.STREAM_TYPE: stream_pairs.ERROR,
                stream_pairs.PORT: "80",
                stream_pairs.REQUEST_ID: "half",
            }
            pf._wire.machine.multiplexer.open(half)
            pf._wire.flush_soon()
            await until(lambda: timers() > idle + 1)
        await until(lambda: timers() == before + 1)


async def in_thread(work: Callable[[], object]) -> object:
    return await asyncio.to_thread(work)


@pytest.mark.parametrize("version", ["v4.channel.k8s.io", "v5.channel.k8s.io,v4.channel.k8s.io"])
async def test_the_client_of_python_kubernetes_runs_a_command(running: StreamingServer, version: str) -> None:
    request = exec_of("sh", "-c", "read x; echo got $x; echo oops >&2; exit 4", stdin=True)
    url = running.exec_url(request).replace("http", "ws", 1)

    def work() -> tuple[str, str, int]:
        ws = WSClient(Configuration(), url, {"sec-websocket-protocol": version}, capture_all=True)
        ws.write_stdin("hello\n")
        ws.run_forever(timeout=10)
        ended = (ws.read_stdout(), ws.read_stderr(), ws.returncode)
        ws.sock.shutdown()  # `close` does nothing when the server has closed before.
        return ended

    assert await asyncio.to_thread(work) == ("got hello\n", "oops\n", 4)


async def test_the_client_of_python_kubernetes_forwards_a_port(running: StreamingServer) -> None:
    async with await echo_server() as echo:
        port = echo.sockets[0].getsockname()[1]
        url = running.portforward_url(PortForwardRequest("s", (port,))).replace("http", "ws", 1)

        def work() -> bytes:
            ws = create_websocket(Configuration(), url, {"sec-websocket-protocol": "v4.channel.k8s.io"})
            forward = PythonPortForward(ws, [port])
            local = forward.socket(port)
            local.setblocking(True)
            local.settimeout(10)
            local.sendall(b"hello")
            got: bytes = local.recv(100)
            local.close()
            for proxy in threading.enumerate():
                if proxy.name.startswith("Kubernetes port forward proxy"):
                    proxy.join(10)  # It fails with a socket that is closed under its hands.
            ws.shutdown()
            return got

        assert await asyncio.to_thread(work) == b"HELLO"


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


async def test_a_client_that_opens_no_streams_starts_nothing(
    running: StreamingServer, targets: LocalTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsandbox.streaming.server.commands.serve_command.__kwdefaults__", {"creation_timeout": 0.3})
    url = running.exec_url(exec_of("true"))
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = "/" + url.split("/", 3)[3]
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == frames.goaway(0, frames.GoAwayStatus.INTERNAL_ERROR)
    writer.close()
    assert not targets.processes


def certificate(directory: Path) -> StreamingConfig:
    """A self-signed certificate for 127.0.0.1, and the configuration that uses it."""
    key, pem = directory / "key.pem", directory / "certificate.pem"
    form = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    form += [
        "-keyout",
        str(key),
        "-out",
        str(pem),
        "-days",
        "1",
        "-subj",
        "/CN=x",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run(form, check=True, capture_output=True)
    return StreamingConfig(tls_certificate=pem, tls_key=key)


async def test_with_a_certificate_it_speaks_tls_alone(targets: LocalTargets, tmp_path: Path) -> None:
    config = certificate(tmp_path)
    async with StreamingServer(targets, config, head_timeout=2).running() as streaming:
        request = exec_of("cat", stdin=True)
        url = streaming.exec_url(request)
        assert url.startswith("https://127.0.0.1:")
        assert await run(streaming, request, PATTERN, tls=client_tls(config)) == (PATTERN, b"", 0)
        with pytest.raises(Unavailable):
            async with client.command(streaming.exec_url(request), wanted_of(request)):
                pass
        with pytest.raises(Unavailable):
            async with client.command(url.replace("https", "http"), wanted_of(request)):
                pass


async def test_our_client_trusts_the_servers_own_certificate_alone(targets: LocalTargets, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    config, stranger = certificate(own), certificate(other)
    assert client_tls(StreamingConfig()) is None
    async with StreamingServer(targets, config).running() as streaming:
        request = exec_of("true")
        url = streaming.exec_url(request)
        with pytest.raises(Unavailable):
            async with client.command(url, wanted_of(request), client_tls(stranger)):
                pass
        async with client.command(url, wanted_of(request), client_tls(config)) as command:
            assert [output async for output in command.output()] == []
    with pytest.raises(FailedPrecondition):
        client_tls(StreamingConfig(tls_certificate=tmp_path / "none", tls_key=tmp_path / "none"))


async def test_a_forward_knows_when_its_server_is_gone(targets: LocalTargets) -> None:
    async with StreamingServer(targets, StreamingConfig()).running() as streaming:
        context = client.port_forward(streaming.portforward_url(PortForwardRequest("s")))
        forward = await context.__aenter__()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await forward.lost()
        with pytest.raises(Unavailable):
            async with forward.connect(80):
                pass
    await context.__aexit__(None, None, None)


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
    running: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_STRANGERS", 3)
    host, port = running.exec_url(exec_of("true")).split("/")[2].split(":")
    pairs = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
    async with asyncio.timeout(0.4):
        assert await pairs[0][0].read() == b""
        assert await pairs[1][0].read() == b""
    assert not pairs[4][0].at_eof()
    for _, writer in pairs:
        writer.close()


async def test_50_commands_at_once(running: StreamingServer, targets: LocalTargets) -> None:
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(run(running, exec_of("sh", "-c", f"echo {n}; exit {n}")) for n in range(50)))
    assert results == [(f"{n}\n".encode(), b"", n) for n in range(50)]


@TRANSPORTS
async def test_10_megabytes_each_way_are_the_same_afterwards(running: StreamingServer, over: ModuleType) -> None:
    data = random.Random(7).randbytes(10_000_000)
    out, _, _ = await run(running, exec_of("sha256sum", stdin=True), data, over)
    assert out.split()[0].decode() == hashlib.sha256(data).hexdigest()
    out, _, _ = await run(running, exec_of("head", "-c", "10000000", "/dev/zero"), over=over)
    assert out == bytes(10_000_000)


async def test_a_defect_is_not_taken_for_a_client_that_hung_up(targets: LocalTargets) -> None:
    class Broken:
        over = False

        def receive(self, data: bytes) -> list[object]:
            raise RuntimeError("a defect")

        def take_output(self) -> bytes:
            return b""

    mine, other = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=mine)
    broken: Any = Wire(reader, writer, Broken())  # type: ignore[type-var]
    with pytest.raises(RuntimeError, match="a defect"):
        await serve_command(broken, targets.exec(exec_of("true")))
    writer.close()
    await writer.wait_closed()
    other.close()


def sent_away(connection: socket.socket) -> bool:
    """Whether the server has closed a connection; what it sent before is thrown away."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


async def test_strangers_that_come_all_at_once_push_each_other_out(
    targets: LocalTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_STRANGERS", 3)
    async with StreamingServer(targets, StreamingConfig()).running() as running:
        host, port = running.exec_url(exec_of("true")).split("/")[2].split(":")
        with contextlib.ExitStack() as stack:
            strangers = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(50)]
            await until(lambda: sum(map(sent_away, strangers)) == 47)


@pytest.fixture
async def secured(targets: LocalTargets, tmp_path: Path) -> AsyncIterator[tuple[StreamingServer, tuple[str, int]]]:
    """A server with TLS, and where it listens."""
    async with StreamingServer(targets, certificate(tmp_path)).running() as streaming:
        host, port = streaming.exec_url(exec_of("true")).split("/")[2].split(":")
        yield streaming, (host, int(port))


async def test_strangers_who_shake_no_hands_push_each_other_out_as_others_do(
    secured: tuple[StreamingServer, tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_STRANGERS", 3)
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(socket.create_connection(secured[1])) for _ in range(20)]
        await until(lambda: sum(map(sent_away, strangers)) == 17)


async def test_who_shook_hands_and_answers_nothing_more_is_sent_away_at_once(
    secured: tuple[StreamingServer, tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_STRANGERS", 1)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(secured[1]) as silent,
        socket.socket(fileno=os.dup(silent.fileno())) as twin,
        await asyncio.to_thread(trusting.wrap_socket, twin),
        socket.create_connection(secured[1]),
    ):
        await until(lambda: sent_away(silent))


async def test_over_tls_too_a_client_that_takes_nothing_is_closed_on(targets: LocalTargets, tmp_path: Path) -> None:
    config, complaints = certificate(tmp_path), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with StreamingServer(targets, config).running() as streaming:
        request = exec_of("yes")
        context = client.command(streaming.exec_url(request), wanted_of(request), client_tls(config))
        command = await context.__aenter__()
        assert await anext(command.output())
    await until(lambda: targets.ended == 1)
    await context.__aexit__(None, None, None)
    assert not complaints


async def test_the_end_of_the_server_is_that_of_clients_who_shake_hands(targets: LocalTargets, tmp_path: Path) -> None:
    async with StreamingServer(targets, certificate(tmp_path)).running() as streaming:
        host, port = streaming.exec_url(exec_of("true")).split("/")[2].split(":")
        late = socket.create_connection((host, int(port)))
        await asyncio.sleep(0.1)  # It has been accepted.
    with late:
        async with asyncio.timeout(2):
            while not sent_away(late):
                await asyncio.sleep(0.01)
