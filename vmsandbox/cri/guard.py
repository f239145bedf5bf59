"""The guard around every call of gRPC: it turns errors into statuses and logs each call."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from vmsandbox import log
from vmsandbox.cri.codes import code_of, details_of
from vmsandbox.cri.interceptor import Context, Interceptor
from vmsandbox.errors import VmsandboxError

_log = log.get(__name__)


class Guard(Interceptor):
    """Stands outermost. A caller that goes away or whose deadline passes cancels its call."""

    def __init__(self) -> None:
        """No call runs."""
        self._calls: set[asyncio.Task[Any]] = set()

    async def settled(self) -> None:
        """Return when no call runs: a server that has stopped has cancelled them, which they may take time to undo."""
        while self._calls:
            await asyncio.wait(self._calls)

    def around_call(self, method: str, behaviour: Any) -> Any:
        """See the module."""

        async def guarded(request: Any, context: Context) -> Any:
            async with self._counted(), _answering(method, context):
                return await behaviour(request, context)

        return guarded

    def around_stream(self, method: str, behaviour: Any) -> Any:
        """See the module."""

        async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
            async with (
                self._counted(),
                _answering(method, context),
                contextlib.aclosing(behaviour(request, context)) as responses,
            ):
                async for response in responses:
                    yield response

        return guarded

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            yield
        finally:
            self._calls.discard(task)


@contextlib.asynccontextmanager
async def _answering(method: str, context: Context) -> AsyncIterator[None]:
    """Messages are not logged: they hold credentials and environments."""
    begin = time.monotonic()
    outcome = "OK"
    try:
        yield
    except VmsandboxError as error:
        outcome = f"{code_of(error).name}: {error}"
        await context.abort(code_of(error), details_of(error))
    except asyncio.CancelledError:
        outcome = "cancelled by the caller"
        raise
    except grpc.aio.AbortError:
        outcome = "aborted"
        raise
    except Exception:
        incident = secrets.token_hex(4)
        outcome = f"incident {incident}"
        _log.exception("%s: incident %s", method, incident)
        await context.abort(
            grpc.StatusCode.INTERNAL, f"{method} failed, by a defect of vmsandbox; try: look for {incident} in its log"
        )
    finally:
        _log.debug("%s: %s after %.3f s", method, outcome, time.monotonic() - begin)
