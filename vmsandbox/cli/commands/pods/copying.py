"""vmsandbox cp: files between a container and this host, by the tar of the container's image."""

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import click

from vmsandbox import aio
from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask, find_container
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.pods.archive import Destination, pack, unpack
from vmsandbox.cli.control import visible
from vmsandbox.cli.options import Global
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.model import ContainerStatus, ExecRequest
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.client import CommandClient, Wanted, client_tls
from vmsandbox.streaming.client import command as connect

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

T = TypeVar("T")

_CHUNK = 16 * 1024
_AHEAD = 64
"""Pieces that one side may be ahead of the other."""
_PAUSE = 0.005
_ERRORS = 4096
"""Bytes of what tar says that are kept."""
_TEST_DEADLINE = 30.0
_NOT_AN_ARCHIVE = b"\xff" * 512
_MISSING = (126, 127)
"""Exit codes of a command that is not in the image."""


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy. Without a container it is on this host."""

    container: str
    path: str


def place(text: str) -> Place:
    """Read NAME:PATH of a container, or a path of this host; one with a colon begins with / or `.`."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return Place("", text)
    if not name or not path:
        raise click.BadParameter(f"{text!r}: write POD:PATH, POD/CONTAINER:PATH, or a path of this host")
    return Place(name, path)


class _Pieces:
    """A pipe between the event loop and a thread that reads or writes an archive. The loop's side never blocks."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(_AHEAD)
        self._rest = b""
        self.abandoned = False

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end. For the thread."""
        if not self._rest:
            self._rest = self._pieces.get()
            if not self._rest:
                self._pieces.put(b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def write(self, data: bytes) -> int:
        """Take a piece, when there is room. For the thread."""
        while not self.abandoned:
            try:
                self._pieces.put(bytes(data), timeout=0.1)
                return len(data)
            except queue.Full:
                continue
        raise BrokenPipeError

    async def feed(self, data: bytes, taker: "asyncio.Future[int]") -> None:
        """Give a piece to the thread, as long as it takes any."""
        while not taker.done():
            try:
                self._pieces.put_nowait(data)
                return
            except queue.Full:
                await asyncio.sleep(_PAUSE)

    async def take(self, giver: "asyncio.Future[None]") -> bytes:
        """Return a piece of the thread's; none when it has ended."""
        while True:
            ended = giver.done()
            try:
                return self._pieces.get_nowait()
            except queue.Empty:
                if ended:
                    return b""
                await asyncio.sleep(_PAUSE)


@click.command()
@click.argument("source", type=place, shell_complete=completing("pod", "container"))
@click.argument("destination", type=place, shell_complete=completing("pod", "container"))
@click.pass_obj
def cp(options: Global, source: Place, destination: Place) -> None:
    """Copy files between a container and this host.

    One of SOURCE and DESTINATION is NAME:PATH, where NAME is POD, CONTAINER or POD/CONTAINER; the other is a path of
    this host. Directories are copied whole, into DESTINATION if that is a directory.

    The container's image needs `tar`, and to copy into it `test`. What is copied from the container belongs to you, and
    links out of it are left out.

    Example: vmsandbox cp web:/etc/nginx/nginx.conf .
    """
    if bool(source.container) == bool(destination.container):
        raise click.UsageError("one of SOURCE and DESTINATION is in a container: NAME:PATH")

    async def work(client: "CriClient") -> None:
        container = await find_container(client, source.container or destination.container)
        copy = _Copy(options, client, container)
        if source.container:
            await copy.to_host(source.path, Path(destination.path))
        else:
            await copy.to_container(Path(source.path), destination.path)

    ask(options, work)


@dataclass(frozen=True, slots=True)
class _Copy:
    options: Global
    client: "CriClient"
    container: ContainerStatus

    async def to_host(self, source: str, target: Path) -> None:
        parent, name = _split(source)
        destination = _destination(target, name)
        pieces, said = _Pieces(), bytearray()
        file = cast(BinaryIO, pieces)
        unpacking = asyncio.ensure_future(asyncio.to_thread(unpack, file, destination, terminal.warning))
        try:
            async with self._run(("tar", "-C", parent, "-cf", "-", "--", name), stdin=False) as process:
                async for output in process.output():
                    if output.stream is Stream.STDERR:
                        said += output.data[: _ERRORS - len(said)]
                    else:
                        await pieces.feed(output.data, unpacking)
                    if unpacking.done() and unpacking.exception():
                        break
                else:
                    self._check(process, bytes(said), f"copy {source}")
        finally:
            await pieces.feed(b"", unpacking)
            await asyncio.gather(unpacking, return_exceptions=True)
        if not await _finished(unpacking):
            raise FailedPrecondition(f"nothing of {source} was copied")

    async def to_container(self, source: Path, target: str) -> None:
        own_name = _name_of(source)
        if target.endswith("/") or await self._is_directory(target):
            parent, name = target, own_name
        else:
            parent, name = _split(target)
        pieces, said = _Pieces(), bytearray()
        packing = asyncio.ensure_future(asyncio.to_thread(pack, source, name, cast(BinaryIO, pieces)))
        try:
            async with (
                self._run(("tar", "-C", parent, "-xf", "-"), stdin=True) as process,
                aio.background(_send(process, pieces, packing)),
            ):
                async for output in process.output():
                    said += output.data[: _ERRORS - len(said)]
                self._check(process, bytes(said), f"copy {source} to {target}")
        finally:
            pieces.abandoned = True
        await _finished(packing)

    @contextlib.asynccontextmanager
    async def _run(self, command: tuple[str, ...], *, stdin: bool) -> AsyncIterator[CommandClient]:
        wanted = Wanted(stdin=stdin, stdout=True, stderr=True, tty=False)
        request = ExecRequest(self.container.id, command, stdin=stdin, stdout=True, stderr=True)
        tls = client_tls(self.options.config("warning").streaming)
        async with connect(await self.client.exec_url(request), wanted, tls) as process:
            yield process

    async def _is_directory(self, path: str) -> bool:
        result = await self.client.exec_sync(self.container.id, ("test", "-d", path), _TEST_DEADLINE)
        if result.exit_code in _MISSING:
            raise self._without("test")
        return result.exit_code == 0

    def _check(self, process: CommandClient, said: bytes, what: str) -> None:
        """Raise FailedPrecondition unless tar has succeeded."""
        try:
            code = process.exit_code
        except FailedPrecondition as error:
            raise self._without("tar") from error
        if code in _MISSING:
            raise self._without("tar")
        if code:
            evidence = {"tar": visible(said.decode(errors="replace"))}
            raise FailedPrecondition(f"cannot {what}: tar has failed in the container", evidence=evidence)

    def _without(self, program: str) -> FailedPrecondition:
        return FailedPrecondition(
            f"container {self.container.config.metadata.name} cannot run {program}, which cp needs in its image",
            hint="mount a volume instead, or use an image that has it",
        )


async def _send(process: CommandClient, pieces: _Pieces, packing: "asyncio.Future[None]") -> None:
    while data := await pieces.take(packing):
        for start in range(0, len(data), _CHUNK):
            await process.write(data[start : start + _CHUNK])
    if packing.exception() is None:
        await process.close_stdin()
    else:
        await process.write(_NOT_AN_ARCHIVE)  # Tar must not take what there is for the whole.
        await process.close_stdin()


async def _finished(work: "asyncio.Future[T]") -> T:
    """Return what the thread returns. Raises FailedPrecondition for a file that it cannot read or write."""
    try:
        return await work
    except OSError as error:
        raise FailedPrecondition(f"{error.filename or 'a file'}: {error.strerror or error}") from None


def _name_of(source: Path) -> str:
    """Return the name of a file of this host, also that of `.`. Raises NotFound."""
    if not source.exists():
        raise NotFound(f"there is no {source} on this host")
    return source.resolve().name or "."


def _split(path: str) -> tuple[str, str]:
    """Split a path in a container into its directory and its name; `.` is the content of a directory.

    Raises:
        InvalidArgument: it has no name: it ends in `..`.
    """
    if path.strip("/") in ("", ".") or path.rstrip("/").endswith("/."):
        return path, "."
    parent, slash, name = path.rstrip("/").rpartition("/")
    if name == "..":
        raise InvalidArgument(f"{path} has no name of its own", hint="write the path without `..` at its end")
    return (parent or "/") if slash else ".", name


def _destination(target: Path, name: str) -> Destination:
    """Return where what is called `name` in the container goes. Raises NotFound if there is no such directory."""
    if target.is_dir():
        return Destination(target, "" if name == "." else name)
    if not target.parent.is_dir():
        raise NotFound(f"there is no directory {target.parent} on this host")
    if name != ".":
        return Destination(target.parent, target.name)
    target.mkdir()
    return Destination(target, "")
