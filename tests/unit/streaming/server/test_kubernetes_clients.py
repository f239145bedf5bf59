"""The streaming server with the client of Kubernetes: SPDY as kubectl speaks it, and kubectl itself where it is."""

import asyncio
import contextlib
import gc
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes.client import Configuration
from kubernetes.stream.ws_client import PortForward as PythonPortForward
from kubernetes.stream.ws_client import WSClient, create_websocket

from tests.fakes.streaming import STUCK, LocalTargets
from tests.support.api_server import api_server
from tests.support.spdy_client import WindowlessSession
from tests.support.streaming import PATTERN, echo_server, exec_of, wanted_of
from tests.support.waiting import until
from vmsandbox.model import ExecRequest, PortForwardRequest
from vmsandbox.streaming.io.byte_queue import ByteQueue
from vmsandbox.streaming.protocol.command_status import CommandStatus
from vmsandbox.streaming.protocol.multiplexer import Closed, Data, Ended, Event
from vmsandbox.streaming.protocol.remote_command import STREAM_TYPE
from vmsandbox.streaming.protocol.versions import SPDY_COMMANDS, CommandVersion
from vmsandbox.streaming.server import StreamingServer, forwarded_connection
from vmsandbox.streaming.server.port_forward import CLIENT_LIMIT

KUBECTL = shutil.which("kubectl")


class SpdyClient:
    """A client that knows no windows, as those of Kubernetes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.session = WindowlessSession()
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, url: str, *versions: str) -> tuple["SpdyClient", str]:
        """Upgrade, and tell the version that was agreed on."""
        host, path = url.removeprefix("http://").split("/", 1)
        reader, writer = await asyncio.open_connection(*host.split(":"))
        head = [f"POST /{path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
        head += [f"X-Stream-Protocol-Version: {version}" for version in versions]
        writer.write("\r\n".join([*head, "Content-Length: 0", "", ""]).encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert " 101 " in answer
        (chosen,) = [line.split(": ")[1] for line in answer.splitlines() if line.startswith("X-Stream-Protocol")]
        return cls(reader, writer), chosen

    async def flush(self) -> None:
        self._writer.write(self.session.output())
        await self._writer.drain()

    async def events(self) -> AsyncIterator[Event]:
        while data := await self._reader.read(65536):
            for event in self.session.receive(data):
                yield event
            await self.flush()

    def close(self) -> None:
        self._writer.close()


async def run(
    streaming: StreamingServer, request: ExecRequest, version: CommandVersion, typed: bytes = b""
) -> dict[str, bytes]:
    """Run a command; what came on each stream until the server had ended it and the session."""
    client, chosen = await SpdyClient.connect(streaming.exec_url(request), version.name)
    assert chosen == version.name
    kinds = {client.session.open({STREAM_TYPE: kind}): kind for kind in wanted_of(request).types(resize=version.resize)}
    numbers = {kind: number for number, kind in kinds.items()}
    await client.flush()
    got = dict.fromkeys(kinds.values(), b"")
    ended: set[str] = set()

    async def type_in() -> None:
        client.session.send(numbers["stdin"], typed)
        client.session.end(numbers["stdin"])
        await client.flush()

    typing: list[asyncio.Task[None]] = []
    over = False
    async for event in client.events():
        if not typing and request.stdin and client.session.room(numbers["stdin"]):
            typing.append(asyncio.create_task(type_in()))
        match event:
            case Data(number, data):
                got[kinds[number]] += data
            case Ended(number):
                ended.add(kinds[number])
            case Closed():
                over = True
    await asyncio.gather(*typing)
    client.close()
    assert over
    assert ended >= {"stdout", "error"}
    return got


@pytest.mark.parametrize("version", SPDY_COMMANDS, ids=lambda version: version.name)
async def test_a_command_over_spdy(running: StreamingServer, version: CommandVersion) -> None:
    got = await run(running, exec_of("sh", "-c", "echo out; echo err >&2; exit 7"), version)
    assert (got["stdout"], got["stderr"]) == (b"out\n", b"err\n")
    if version.json_status:
        assert CommandStatus.decode(got["error"]).exit_code == 7
    else:
        assert got["error"].endswith(b"exit code 7")


async def test_3_megabytes_each_way_without_windows(running: StreamingServer, targets: LocalTargets) -> None:
    got = await run(running, exec_of("sh", "-c", "echo up; cat", stdin=True), SPDY_COMMANDS[0], PATTERN)
    assert got["stdout"] == b"up\n" + PATTERN
    assert CommandStatus.decode(got["error"]).exit_code == 0


async def test_ports_over_spdy(running: StreamingServer, targets: LocalTargets) -> None:
    async with await echo_server() as echo:
        client, _ = await SpdyClient.connect(running.portforward_url(PortForwardRequest("s")), "portforward.k8s.io")
        headers = {"port": str(echo.sockets[0].getsockname()[1]), "requestid": "0"}
        error = client.session.open({STREAM_TYPE: "error", **headers})
        client.session.end(error)
        data = client.session.open({STREAM_TYPE: "data", **headers})
        client.session.send(data, b"hello")
        await client.flush()
        got, ended = b"", set()
        async for event in client.events():
            match event:
                case Data(number, piece) if number == data:
                    got += piece
                    client.session.end(data)
                case Ended(number):
                    ended.add(number)
            if ended == {error, data}:
                break
        assert got == b"HELLO"
        client.close()
    await until(lambda: len(asyncio.all_tasks()) == 1)


kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed here")


async def call_kubectl(url: str, *arguments: str, typed: bytes | None = None, home: Path) -> tuple[bytes, bytes, int]:
    assert KUBECTL is not None
    process = await asyncio.create_subprocess_exec(
        *(KUBECTL, f"--server={url}", f"--cache-dir={home}", *arguments),
        stdin=subprocess.DEVNULL if typed is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(home), "KUBECONFIG": os.devnull},
    )
    out, err = await process.communicate(typed)
    return out, err, process.returncode or 0


@kubectl
async def test_kubectl_runs_commands(running: StreamingServer, tmp_path: Path) -> None:
    async with api_server(running) as url:
        command = ("exec", "pod", "-c", "c", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        out, err, code = await call_kubectl(url, *command, home=tmp_path)
        assert (out, code) == (b"out\n", 7)
        assert b"err\n" in err
        echoed, _, code = await call_kubectl(
            url, "exec", "-i", "pod", "-c", "c", "--", "cat", typed=PATTERN, home=tmp_path
        )
        assert (echoed == PATTERN, code) == (True, 0)


@contextlib.asynccontextmanager
async def kubectl_forward(url: str, home: Path, *ports: int) -> AsyncIterator[list[int]]:
    """The local ports that kubectl forwards."""
    assert KUBECTL is not None
    process = await asyncio.create_subprocess_exec(
        *(KUBECTL, f"--server={url}", f"--cache-dir={home}", "port-forward", "--address=127.0.0.1", "pod/pod"),
        *(f":{port}" for port in ports),
        stdout=subprocess.PIPE,
        env={**os.environ, "HOME": str(home), "KUBECONFIG": os.devnull},
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode() for _ in ports]
        yield [int(line.split("127.0.0.1:")[1].split()[0]) for line in lines]
    finally:
        process.terminate()
        await process.communicate()


@kubectl
async def test_kubectl_forwards_ports(running: StreamingServer, tmp_path: Path) -> None:
    async with (
        api_server(running) as url,
        await echo_server() as echo,
        kubectl_forward(url, tmp_path, echo.sockets[0].getsockname()[1]) as (local,),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        writer.write(PATTERN.hex().encode())
        writer.write_eof()
        assert await reader.read() == PATTERN.hex().encode().upper()
        writer.close()


@kubectl
async def test_kubectl_forwards_a_connection_while_another_one_is_stuck_and_after_it_was_reset(
    running: StreamingServer, targets: LocalTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarded_connection, "STALL_TIMEOUT", 2.0)
    async with (
        api_server(running) as url,
        await echo_server() as echo,
        kubectl_forward(url, tmp_path, STUCK, echo.sockets[0].getsockname()[1]) as (stuck, local),
    ):
        _, stuck_writer = await asyncio.open_connection("127.0.0.1", stuck)
        stuck_writer.write(bytes(CLIENT_LIMIT // 2))
        await until(
            lambda: any(one.size == CLIENT_LIMIT // 2 for one in gc.get_objects() if isinstance(one, ByteQueue))
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        for word in (b"still here", b"and later!"):
            writer.write(word)
            async with asyncio.timeout(10):
                assert await reader.readexactly(10) == word.upper()
            await until(lambda: targets.ended == 1)
        writer.close()
        stuck_writer.close()


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
