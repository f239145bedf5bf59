"""The server of both services on a Unix socket, and the life of the thin process."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc.aio

from vmsandbox import aio, log
from vmsandbox.containerd.controller import ControllerServicer
from vmsandbox.containerd.daemon import Daemon
from vmsandbox.containerd.events import Containerd
from vmsandbox.containerd.messages import CONTROLLER, SERVICES, TASK, types_of
from vmsandbox.containerd.sandboxes import Sandboxes
from vmsandbox.containerd.task_service import ServiceCall, TaskServicer
from vmsandbox.containerd.tasks import Tasks
from vmsandbox.cri import CHANNEL_OPTIONS
from vmsandbox.cri.codes import code_of, in_a_line
from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unimplemented, VmsandboxError, explained
from vmsandbox.fs.locks import try_locked

_log = log.get(__name__)

SOCKET = "containerd.sock"
"""The name of the socket, in the directory of what is kept."""

_LONGEST_PATH = 107
"""Bytes of a Unix socket's address at most (unix(7), sun_path), without the final NUL."""

_GRACE = 1.0
"""Seconds that calls which run have to end."""


@contextlib.asynccontextmanager
async def serving_containerd(directory: Path, daemon: Path, containerd: Path) -> AsyncIterator[Path]:
    """Serve containerd while the context lasts; yields the socket, which root alone may open.

    Args:
        directory: of what is kept; it is made.
        daemon: the socket of the daemon's OCI door.
        containerd: containerd's socket.

    Raises:
        FailedPrecondition: another process serves there.
        InvalidArgument: the socket's path would be too long.
    """
    if len(os.fsencode(directory / SOCKET)) > _LONGEST_PATH:
        raise InvalidArgument(f"{directory / SOCKET} is too long for a socket", hint="choose a shorter --directory")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240 - of this process
    with try_locked(directory / "lock") as alone:
        if not alone:
            raise FailedPrecondition(f"another process has {directory}", hint="stop it first")
        client, host = Daemon(daemon), Containerd(containerd)
        sandboxes = Sandboxes(directory / "sandboxes", client, host)
        tasks = Tasks(directory / "tasks", client, host, sandboxes)
        sandboxes.take_back()
        await tasks.take_back()
        try:
            async with (
                _listening(directory / SOCKET, sandboxes, tasks, client),
                aio.attendant(host.forward(), "events for containerd"),
                aio.attendant(tasks.leftovers.attend(), "tasks that containerd does not know any more"),
                aio.attendant(sandboxes.leftovers.attend(), "sandboxes that containerd does not know any more"),
            ):
                yield directory / SOCKET
        finally:
            await tasks.close()
            await sandboxes.close()


@contextlib.asynccontextmanager
async def _listening(socket: Path, sandboxes: Sandboxes, tasks: Tasks, daemon: Daemon) -> AsyncIterator[None]:
    servicer = TaskServicer(tasks, daemon)
    controller = ControllerServicer(sandboxes, tasks, servicer, socket)
    server = grpc.aio.server(options=CHANNEL_OPTIONS)
    server.add_generic_rpc_handlers((_handlers(CONTROLLER, controller.by_name), _handlers(TASK, servicer.by_name)))
    socket.unlink(missing_ok=True)  # noqa: ASYNC240 - in a directory of this process
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(_GRACE)


def _handlers(service: str, by_name: Mapping[str, ServiceCall]) -> grpc.GenericRpcHandler:
    handlers = {}
    for call in SERVICES[service]:
        request, answer = types_of(service, call)
        handlers[call] = grpc.unary_unary_rpc_method_handler(
            _served(f"{service}/{call}", by_name[call]),
            request_deserializer=request.FromString,
            response_serializer=answer.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service, handlers)


def _served(name: str, method: ServiceCall) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return what gRPC calls: an error is a status, and each exchange a line of the log at the level debug."""

    async def serve(request: Any, context: Any) -> Any:
        namespace = str(dict(context.invocation_metadata()).get("containerd-namespace", ""))
        try:
            answer = await method(namespace, request)
        except VmsandboxError as error:
            _record(name, namespace, request, error=error.code, text=in_a_line(error))
            await context.abort(_code(name, error), in_a_line(error))
        except Exception as error:
            _log.exception("%s has failed unexpectedly", name)
            await context.abort(grpc.StatusCode.INTERNAL, str(explained(error)))
        else:
            _record(name, namespace, request, answer=told(answer))
            return answer

    return serve


def _code(name: str, error: VmsandboxError) -> grpc.StatusCode:
    """Return the code of an error; containerd takes a task that is Unimplemented for one of an older service."""
    if isinstance(error, Unimplemented) and name.startswith(TASK):
        return grpc.StatusCode.FAILED_PRECONDITION
    return code_of(error)


def _record(name: str, namespace: str, request: Any, **rest: Any) -> None:
    _log.debug("%s", json.dumps({"call": name, "namespace": namespace, "request": told(request), **rest}))


def told(value: Any) -> Mapping[str, Any]:
    """Return a message as JSON; bytes as text in Latin-1, so that it can be made again."""
    return {field.name: _told(content) for field, content in value.ListFields()}


def _told(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str | int | bool):
        return value
    return told(value) if hasattr(value, "ListFields") else [_told(each) for each in value]
