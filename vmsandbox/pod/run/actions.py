"""The actions of probes and hooks: a command in the container, an HTTP request or a TCP connection to the pod.

Requests come from the host, as the kubelet's do, and follow no redirection; certificates are not verified. Readiness
concerns nobody here: there are no services.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11

from vmsandbox.errors import DeadlineExceeded, Unavailable, VmsandboxError
from vmsandbox.pod.api import Container, ExecAction, HttpGetAction, Probe, Scheme, TcpSocketAction
from vmsandbox.pod.run.runtime import PodRuntime

_SAID = 500
"""Characters of what a command printed that an error repeats."""
_READ = 16 * 1024


async def run_command(runtime: PodRuntime, container_id: str, action: ExecAction, timeout: float) -> None:
    """Run a command in a container; `timeout` in seconds, 0 for none.

    Raises:
        Unavailable: it ended with another status than 0.
        VmsandboxError: it could not be run, or not to its end.
    """
    result = await runtime.exec_sync(container_id, action.command, timeout)
    if result.exit_code:
        said = (result.stderr or result.stdout).decode(errors="replace").strip()[-_SAID:]
        raise Unavailable(f"the command ended with status {result.exit_code}: {said}".rstrip(": "))


async def connect(address: str, action: TcpSocketAction, container: Container, timeout: float) -> None:
    """Make a TCP connection, and close it.

    Raises:
        Unavailable: nobody listens; the pod has no address.
        DeadlineExceeded: nobody answers.
    """
    host, port = _host(action, address), port_number(action.port, container)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        raise DeadlineExceeded(f"no answer from {host}, port {port}, within {timeout:g} s") from None
    except OSError as error:
        raise Unavailable(f"no connection to {host}, port {port}: {error.strerror or error}") from None


async def get(address: str, action: HttpGetAction, container: Container, timeout: float) -> None:
    """Make an HTTP request, whose answer has a status between 200 and 399.

    Raises:
        Unavailable: there is no answer, or another one; the pod has no address.
        DeadlineExceeded: there is none in time.
    """
    host, port = _host(action, address), port_number(action.port, container)
    try:
        async with asyncio.timeout(timeout):
            status = await _status(host, port, action)
    except TimeoutError:
        raise DeadlineExceeded(f"no answer from {host}, port {port}, within {timeout:g} s") from None
    except OSError as error:
        raise Unavailable(f"no connection to {host}, port {port}: {error.strerror or error}") from None
    except h11.ProtocolError as error:
        raise Unavailable(f"the answer of {host}, port {port}, is not HTTP: {error}") from None
    if not 200 <= status < 400:
        raise Unavailable(f"the HTTP request was answered with status {status}")


def port_number(port: int | str, container: Container) -> int:
    """The number of a port that may be given by its name in the container's `ports`."""
    if isinstance(port, int):
        return port
    if port.isdecimal():
        return int(port)
    return next(named.container_port for named in container.ports if named.name == port)


def _host(action: HttpGetAction | TcpSocketAction, address: str) -> str:
    """Where to connect to. An empty name would be this host itself."""
    if not action.host and not address:
        raise Unavailable("the pod has no network", hint="probe it with a command: `exec` runs in the container")
    return action.host or address


async def _status(host: str, port: int, action: HttpGetAction) -> int:
    """The status of the answer, whose body is not read."""
    context = _unverified() if action.scheme is Scheme.HTTPS else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = _headers(host, port, action)
        writer.write(connection.send(h11.Request(method="GET", target=action.path or "/", headers=headers)) or b"")
        await writer.drain()
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ))
    finally:
        writer.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _headers(host: str, port: int, action: HttpGetAction) -> list[tuple[str, str]]:
    shown = f"[{host}]" if ":" in host else host
    defaults = {"Host": f"{shown}:{port}", "User-Agent": "kube-probe/vmsandbox", "Accept": "*/*", "Connection": "close"}
    given = {header.name.lower() for header in action.http_headers}
    kept = [(name, value) for name, value in defaults.items() if name.lower() not in given]
    return kept + [(header.name, header.value) for header in action.http_headers]


@dataclass(frozen=True, slots=True)
class ProbeFailure:
    """A container has failed a probe as often as it may, and is to be ended."""

    message: str
    probe: Probe


Check = Callable[[Probe], Awaitable[None]]
"""Does what the probe says, once, and raises VmsandboxError where it fails."""


async def until_started(probe: Probe, check: Check) -> ProbeFailure | None:
    """Probe a container that is starting up, until it has (None) or has failed too often."""
    await asyncio.sleep(probe.initial_delay_seconds)
    failed = 0
    while True:
        error = await _failure(probe, check)
        if error is None:
            return None
        failed += 1
        if failed >= probe.failure_threshold:
            return ProbeFailure(f"startup probe failed: {error}", probe)
        await asyncio.sleep(probe.period_seconds)


async def until_dead(probe: Probe, check: Check) -> ProbeFailure:
    """Probe a container that has started, until it has failed too often in a row."""
    await asyncio.sleep(probe.initial_delay_seconds)
    failed = 0
    while True:
        error = await _failure(probe, check)
        failed = failed + 1 if error else 0
        if failed >= probe.failure_threshold:
            return ProbeFailure(f"liveness probe failed: {error}", probe)
        await asyncio.sleep(probe.period_seconds)


async def _failure(probe: Probe, check: Check) -> VmsandboxError | None:
    try:
        await check(probe)
    except VmsandboxError as error:
        return error
    return None
