"""The gRPC server on its Unix socket."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri import CHANNEL_OPTIONS
from vmsandbox.cri.guard import Guard
from vmsandbox.cri.observing import Observer
from vmsandbox.cri.servicer import AdditionsServicer, ImageServicer, NodeInfo, RuntimeServicer, StreamingUrls
from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unavailable
from vmsandbox.fs import PASSABLE, make_missing, set_mode
from vmsandbox.fs.locks import try_locked
from vmsandbox.service import RuntimeService

__all__ = ["NodeInfo", "StreamingUrls", "serving"]

_LONGEST_PATH = 107
"""Bytes of a Unix socket's address at most (unix(7), sun_path), without the final NUL."""


@contextlib.asynccontextmanager
async def serving(
    service: RuntimeService,
    path: Path,
    node: NodeInfo,
    streaming: StreamingUrls | None = None,
    delegation: grpc.aio.ServerInterceptor | None = None,
    *,
    group: int = -1,
    mode: int = 0o660,
    grace: float = 5,
    ending: str = "the daemon ends",
) -> AsyncIterator[None]:
    """Serve the CRI on a Unix socket while the context lasts.

    The socket is there, with its mode, when the body starts, and gone when the context is left. A socket that a
    killed daemon left is replaced. When the context is left, streams of events end, and other calls that run have
    `grace` seconds to end; then they are cancelled, and have undone what they did when it has been left.

    Args:
        service: sandboxes and containers; it and its images are the caller's.
        path: of the socket; its directory is made.
        node: what the CRI tells of the node.
        streaming: gives the URLs of exec, attach and port-forward; None: these are Unimplemented.
        delegation: hands calls on to another runtime (`delegation.router`); None: all are ours.
        group: number of the group that may connect; -1: that of this process.
        mode: of the socket.
        grace: seconds.
        ending: what clients are told whose stream of events ends with the server.

    Raises:
        FailedPrecondition: another daemon serves there, or the path is something else than a socket.
        InvalidArgument: the path is too long for a socket.
    """
    with _claimed(path) as bound:
        guard = Guard()
        interceptors = [Observer(service), guard, *([delegation] if delegation is not None else ())]
        server = grpc.aio.server(
            interceptors=interceptors,
            options=CHANNEL_OPTIONS,
        )
        ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        runtime = RuntimeServicer(service, node, streaming, ended)
        api_pb2_grpc.add_RuntimeServiceServicer_to_server(runtime, server)
        api_pb2_grpc.add_ImageServiceServicer_to_server(ImageServicer(service.images, node), server)
        server.add_generic_rpc_handlers((AdditionsServicer(service, node, streaming, ended).handler(),))
        server.add_insecure_port(f"unix:{bound}")
        await server.start()
        try:
            os.chown(bound, -1, group)
            bound.chmod(mode)
            bound.rename(path)
            yield
        finally:
            _remove(path)
            ended.set_result(Unavailable(ending))
            await server.stop(grace)
            await guard.settled()


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """Own the path, by a lock beside it; gives the name to bind, which is then renamed to the path.

    So the socket is never there with another mode, and gRPC, which removes what it finds at the name that it binds,
    never removes the socket of a daemon that lives.
    """
    bound = path.with_name(f".{path.name}.new")
    if len(os.fsencode(bound)) > _LONGEST_PATH:
        raise InvalidArgument(f"{path} is too long for a socket", hint="choose a shorter one in config.yaml")
    make_missing(path.parent, PASSABLE)
    lock_file = path.with_name(f".{path.name}.lock")
    with try_locked(lock_file) as alone:
        set_mode(lock_file, 0o600)  # who may open it could hold the lock
        if not alone:
            raise _taken(path)
        _check_stale(path)
        yield bound


def _check_stale(path: Path) -> None:
    """Nothing is there, or a socket that nobody listens on."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FailedPrecondition(f"{path} is not a socket", hint="remove it, or choose another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED:
            raise _taken(path)


def _remove(path: Path) -> None:
    """Before the server stops, so that no client comes any more."""
    path.unlink(missing_ok=True)


def _taken(path: Path) -> FailedPrecondition:
    return FailedPrecondition(f"another daemon serves {path}", hint="stop it first, or choose another socket")
