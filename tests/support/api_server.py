"""The part of a Kubernetes API server that kubectl needs for exec and port-forward.

What the kubelet does, it does, too: it asks for a URL, and passes the client's connection on to it.
"""

import asyncio
import contextlib
import json
import urllib.parse
from collections.abc import AsyncIterator

from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming.server import StreamingServer

_POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "pod", "namespace": "default"},
    "spec": {"containers": [{"name": "c", "image": "image", "stdin": True}]},
    "status": {"phase": "Running"},
}
_DOCUMENTS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
            {"name": "pods/exec", "singularName": "", "namespaced": True, "kind": "PodExecOptions", "verbs": ["get"]},
        ],
    },
}


@contextlib.asynccontextmanager
async def api_server(streaming: StreamingServer) -> AsyncIterator[str]:
    """Yield the URL while it runs."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await _serve(streaming, reader, writer)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _serve(streaming: StreamingServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line, rest = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)
        method, target, _ = line.decode().split(" ")
        path, query = target.partition("?")[::2]
        if url := _streaming_url(streaming, path.rpartition("/")[2], urllib.parse.parse_qs(query)):
            await _pass_on(url, method, rest, reader, writer)
            return
        body = json.dumps(_DOCUMENTS.get(path, _POD)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)


def _streaming_url(streaming: StreamingServer, kind: str, query: dict[str, list[str]]) -> str:
    """The URL for a request of kubectl's; empty where it asks for no stream."""
    wanted = {name: query.get(name) == ["true"] for name in ("stdin", "stdout", "stderr", "tty")}
    match kind:
        case "exec":
            return streaming.exec_url(ExecRequest("c", tuple(query["command"]), **wanted))
        case "attach":
            return streaming.attach_url(AttachRequest("c", **wanted))
        case "portforward":
            return streaming.portforward_url(PortForwardRequest("s"))
    return ""


async def _pass_on(
    url: str, method: str, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    ahead_reader, ahead_writer = await asyncio.open_connection(parts.hostname, parts.port)
    ahead_writer.write(f"{method} {parts.path} HTTP/1.1\r\n".encode() + rest)
    both = [asyncio.create_task(_pump(reader, ahead_writer)), asyncio.create_task(_pump(ahead_reader, writer))]
    try:
        await asyncio.wait(both, return_when=asyncio.ALL_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        ahead_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
