"""The observer around every call of gRPC: figures, a trace, and what the lines that are logged within it are about."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc

from vmsandbox import log
from vmsandbox.cri.interceptor import Context, Interceptor
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import PodSandboxMetadata
from vmsandbox.service import RuntimeService
from vmsandbox.telemetry import call_span
from vmsandbox.telemetry.declared import RPC_SECONDS, RPCS, RPCS_RUNNING


class Observer(Interceptor):
    """Stands around the guard, whose answers it counts. A method that does not exist does not count."""

    def __init__(self, service: RuntimeService) -> None:
        """Look pods and containers up in `service`, which is the caller's."""
        self._service = service

    def around_call(self, method: str, behaviour: Any) -> Any:
        """See the module."""

        async def observed(request: Any, context: Context) -> Any:
            begin = time.monotonic()
            headers = _headers(context)
            with (
                _counted(method, context),
                log.within(method) as call,
                self._about(request),
                call_span(method, headers) as call.trace,
            ):
                response = await behaviour(request, context)
            RPC_SECONDS.observe(time.monotonic() - begin, method)
            return response

        return observed

    def around_stream(self, method: str, behaviour: Any) -> Any:
        """A stream of events lasts as long as its reader: it is counted, and that is all."""

        async def observed(request: Any, context: Context) -> AsyncIterator[Any]:
            with _counted(method, context):
                async with contextlib.aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        yield response

        return observed

    @contextlib.contextmanager
    def _about(self, request: Any) -> Iterator[None]:
        subject = self._subject(request)
        with contextlib.nullcontext() if subject is None else log.about(subject):
            yield

    def _subject(self, request: Any) -> log.Subject | None:
        """The pod and the container that a request names, as far as they are ours."""
        sandbox_id, container_id = (str(getattr(request, name, "")) for name in ("pod_sandbox_id", "container_id"))
        container = ""
        with contextlib.suppress(VmsandboxError):
            if container_id:
                status = self._service.container_status(container_id)
                sandbox_id, container = status.sandbox_id, status.config.metadata.name
            if sandbox_id:
                metadata = self._service.pod_sandbox_status(sandbox_id).config.metadata
                return _named(metadata, sandbox_id, container_id, container)
        config: Any = getattr(request, "config", None)
        if hasattr(config, "metadata") and hasattr(config, "hostname"):  # A pod that is to be made.
            wanted = config.metadata
            return log.Subject("", wanted.name, wanted.namespace, wanted.uid)
        return None


def _named(pod: PodSandboxMetadata, sandbox_id: str, container_id: str, container: str) -> log.Subject:
    return log.Subject(sandbox_id, pod.name, pod.namespace, pod.uid, container_id, container)


@contextlib.contextmanager
def _counted(method: str, context: Context) -> Iterator[None]:
    """Count a call when it has ended, by the code that its caller is told."""
    code = "ok"
    RPCS_RUNNING.add()
    try:
        yield
    except asyncio.CancelledError:
        code = "cancelled"
        raise
    except GeneratorExit:
        code = "cancelled"
        raise
    except BaseException:
        told = context.code()
        code = (told if isinstance(told, grpc.StatusCode) else grpc.StatusCode.UNKNOWN).name.lower()
        raise
    finally:
        RPCS_RUNNING.add(amount=-1)
        RPCS.add(method, code)


def _headers(context: Context) -> dict[str, str]:
    """The request's headers that are text (gRPC: names that end in -bin hold bytes)."""
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
