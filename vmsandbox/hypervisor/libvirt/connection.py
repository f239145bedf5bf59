"""The one place that opens libvirt, and calls it: in a few threads, none of them asyncio's.

`qemu:///system` and `qemu:///session` talk to a daemon, which may be restarted; the connection is then made again.
With `qemu:///embed?root=DIR` libvirt runs in this process, whose QEMUs go on when it ends.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from vmsandbox import aio, log
from vmsandbox.errors import InvalidArgument, Unavailable, VmsandboxError
from vmsandbox.hypervisor.libvirt import bindings, embedded
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.faults import translated

_log = log.get(__name__)

T = TypeVar("T")
Subscribe = Callable[["libvirt.virConnect"], list[int]]
"""Registers callbacks of domain events on a connection that was just made, and returns their ids."""
Reconnected = Callable[[], object]
Revive = Callable[[], Awaitable[None]]

CALLS_AT_ONCE = 8
OPEN_DEADLINE = 20.0
"""Seconds that a daemon has to answer in; one that hangs never does."""
RECONNECT_DEADLINE = 20.0
"""Seconds that a call waits for a daemon that is being restarted."""
_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT = 5, 3
"""Seconds between questions, and how many may stay unanswered, until a daemon that hangs counts as gone."""


class LibvirtConnection:
    """A connection to libvirt that is made again when its daemon was restarted. `opened` makes it."""

    def __init__(self, uri: str, subscribe: Subscribe, revive: Revive | None = None) -> None:
        """Nothing is opened before `opened`, whose arguments these are."""
        self.uri = uri
        self._root = _embedded_root(uri)
        self._subscribe = subscribe
        self._revive = revive
        self._pool = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="libvirt")
        self._connection: Any = None
        self._callbacks: list[int] = []
        self._loop = asyncio.get_running_loop()
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()

    @property
    def embedded(self) -> bool:
        """Whether libvirt runs in this process."""
        return self._root is not None

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        uri: str,
        subscribe: Subscribe,
        reconnected: Reconnected = lambda: None,
        revive: Revive | None = None,
    ) -> AsyncIterator["LibvirtConnection"]:
        """An open connection, for as long as the context lasts.

        Args:
            uri: qemu:///system, qemu:///session or qemu:///embed?root=DIR, where DIR is absolute; it is made.
            subscribe: run on every connection made, in a thread.
            reconnected: called after each new connection to a restarted daemon.
            revive: starts the daemon where it does not run, before each attempt to connect again.

        Raises:
            InvalidArgument: the URI is not one of these.
            FailedPrecondition: this host lacks what libvirt needs.
            Unavailable: no daemon answers.
        """
        connection = cls(uri, subscribe, revive)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(connection._pool.shutdown)
            if connection._root is not None:
                await stack.enter_async_context(embedded.prepared(connection._root))
            bindings.start_event_loop()
            stack.push_async_callback(lambda: aio.to_its_end(connection._close()))
            await connection._open()
            keeping = aio.attendant(connection._keep_open(reconnected), f"connection to {uri}")
            await stack.enter_async_context(keeping)
            yield connection

    async def call(self, action: str, work: Callable[["libvirt.virConnect"], T], *, repeatable: bool = True) -> T:
        """Run `work` on the connection in a thread, to its end even when the caller is cancelled.

        Args:
            action: what it does, for the error: "libvirt cannot end machine x".
            work: may raise libvirt's errors, which are translated.
            repeatable: do it again when the daemon went away meanwhile, and has come back.

        Raises:
            Unavailable: the daemon is gone, and did not come back in time, or went while it worked.
            VmsandboxError: see `faults`.
        """
        connection = await self._connected(action)
        try:
            return await self._run(action, work, connection)
        except Unavailable:
            if not self._lose(connection) or not repeatable:
                raise
        return await self._run(action, work, await self._connected(action))

    async def _run(self, action: str, work: Callable[["libvirt.virConnect"], T], connection: "libvirt.virConnect") -> T:
        try:
            return await aio.to_its_end(self._in_thread(lambda: work(connection)))
        except libvirt.libvirtError as error:
            raise translated(error, action) from None

    async def _connected(self, action: str) -> "libvirt.virConnect":
        try:
            async with asyncio.timeout(RECONNECT_DEADLINE):
                await self._opened.wait()
        except TimeoutError:
            raise Unavailable(
                f"{action}: {self.uri} has not answered for {RECONNECT_DEADLINE:g} s", hint=_hint(self.uri)
            ) from None
        return self._connection

    def _lose(self, connection: "libvirt.virConnect") -> bool:
        """Whether a connection is lost; nobody gets it any more then."""
        if connection is not self._connection:
            return True
        if connection.isAlive():
            return False
        self._opened.clear()
        self._lost.set()
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(OPEN_DEADLINE):
                opened = await _in_daemon_thread(self._dial)
            await aio.to_its_end(self._in_thread(lambda: self._adopt(opened)))
        except TimeoutError:
            raise Unavailable(f"{self.uri} has not answered for {OPEN_DEADLINE:g} s", hint=_hint(self.uri)) from None
        except libvirt.libvirtError as error:
            failure = translated(error, f"cannot open {self.uri}")
            failure.hint = failure.hint or _hint(self.uri)
            raise failure from None
        self._opened.set()

    async def _open_again(self) -> None:
        if self._revive is not None:
            await self._revive()
        await self._open()

    def _dial(self) -> "libvirt.virConnect":
        if self._root is not None:
            return embedded.connection(self._root)
        # With its transport named, it is the daemon's even in a process that has an embedded libvirt.
        return libvirt.open(self.uri.replace("qemu:", "qemu+unix:", 1))

    def _adopt(self, connection: "libvirt.virConnect") -> None:
        if self._root is None:
            connection.registerCloseCallback(self._on_close, None)
            connection.setKeepAlive(_KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT)
        self._callbacks = self._subscribe(connection)
        self._connection = connection

    def _on_close(self, *_: object) -> None:
        """In libvirt's thread."""
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._lost.set)

    async def _keep_open(self, reconnected: Reconnected) -> None:
        """Open again whenever the daemon has gone, for as long as it takes: pauses grow from 0.1 to 2 s."""
        while True:
            await self._lost.wait()
            _log.warning("the connection to %s is lost; connecting again", self.uri)
            await self._close()
            self._lost.clear()
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(Exception),
                wait=wait_random_exponential(0.1, max=2),
                before_sleep=_log_unexpected,
            )
            await retrying(self._open_again)
            _log.info("connected to %s again", self.uri)
            reconnected()

    async def _close(self) -> None:
        self._opened.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._in_thread(lambda: self._close_in_thread(connection))

    def _close_in_thread(self, connection: "libvirt.virConnect") -> None:
        """Callbacks hold a connection open, so they go first. One that is lost cannot be asked for anything."""
        for number in self._callbacks:
            with contextlib.suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(number)
        if self._root is None:
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
                connection.close()


def _log_unexpected(state: RetryCallState) -> None:
    """Log the end of a connection attempt, unless libvirtd is just not there: callers get that as an error."""
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, VmsandboxError):
        _log.error("opening libvirt", exc_info=error)


async def _in_daemon_thread(work: Callable[[], T]) -> T:
    """The result of `work`, which may hang: when nobody waits any more it is left alone, and holds no process up."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="opening libvirt", daemon=True).start()
    return await asyncio.wrap_future(done)


def _embedded_root(uri: str) -> Path | None:
    """The directory of an embedded libvirt. Raises InvalidArgument for a URI that we do not support."""
    parts = urlsplit(uri)
    if parts.scheme in ("qemu", "qemu+unix") and parts.path in ("/system", "/session"):
        return None
    root = parse_qs(parts.query).get("root", [""])[0]
    if uri.startswith("qemu:///embed?") and root.startswith("/"):
        return Path(root)
    raise InvalidArgument(
        f"{uri} is not a libvirt that can run machines",
        hint="qemu:///system, qemu:///session, or qemu:///embed?root=DIRECTORY",
    )


def _hint(uri: str) -> str:
    if "embed" in uri:
        return "`make setup` makes QEMU's user and groups; `vmsandbox check` lists what this host needs"
    return "check that libvirtd runs; `libvirt: auto` in config.yaml does without it"
