"""`lab test`, `lab bench` and `lab collect`: what hosts write, brought into a local directory.

An archive that a host sends is that host's: names in it are checked, and nothing but regular files is taken.
"""

import contextlib
import io
import re
import secrets
import shlex
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.fs import durable
from vmsandbox.lab.fleet import HostContext
from vmsandbox.lab.host import Command
from vmsandbox.lab.installation import Progress, require, version_directory

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_BENCH = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Received:
    """A file of a host's archive."""

    name: str
    content: bytes


def run_tests(context: HostContext, into: Path, arguments: tuple[str, ...]) -> str:
    """Run pytest on a host; bring back its output and a JUnit report, also where tests fail.

    Args:
        context: the host.
        into: the local directory; the host's name is below it.
        arguments: of pytest; all tests where there are none.

    Raises:
        FailedPrecondition: tests failed; the message says where the report is.
    """

    def command(reports: str) -> tuple[str, ...]:
        return (".venv/bin/pytest", f"--junitxml={reports}/junit.xml", *(arguments or ("--leftovers",)))

    return _reported(context, into, "test", command)


def run_bench(context: HostContext, into: Path, name: str, arguments: tuple[str, ...]) -> str:
    """Run a measurement of `tests/performance` on a host; bring back what it prints.

    The facts of the host are beside it: figures of two machines are not compared without them.

    Raises:
        FailedPrecondition: it failed.
    """
    if not _BENCH.fullmatch(name):
        raise FailedPrecondition(f"{name} is not a measurement", hint="the name of a module of tests/performance")
    facts = context.program("facts", what="the host's facts cannot be read")
    write(into / context.host.name, Received("facts.json", facts))
    command = (".venv/bin/python", "-m", f"tests.performance.{name}", *arguments)
    return _reported(context, into, f"bench-{name}", lambda _: command)


def _reported(context: HostContext, into: Path, name: str, command: Callable[[str], tuple[str, ...]]) -> str:
    """Run a command in the current version; its output goes into NAME.log, and the files that it writes come back."""
    host, version = context.host, require(context).version
    reports = f"{host.directory}/reports/{secrets.token_hex(4)}"
    context.output_of(Command(("mkdir", "-p", reports)), "the directory of reports cannot be made")
    argv = command(reports)
    directory = into / host.name
    directory.mkdir(parents=True, exist_ok=True)
    context.say(f"running {shlex.join(argv)}")
    try:
        with (directory / f"{name}.log").open("wb") as log:
            progress = Progress(context)

            def keep(piece: bytes) -> None:
                log.write(piece)
                progress.add(piece)

            status = context.run(Command(argv, version_directory(host, version)), keep, keep)
        for each in unpack(context.output_of(Command(("tar", "-cf", "-", "-C", reports, ".")), "no reports came back")):
            write(directory, each)
    finally:
        with contextlib.suppress(VmsandboxError):  # the host is lost, perhaps; `down` removes them as well
            context.output_of(Command(("rm", "-rf", "--", reports)), "the reports could not be removed")
    if status:
        raise FailedPrecondition(f"ended with status {status} ({progress.text}); see {directory}/{name}.log")
    return f"{progress.text or 'done'}; see {directory}"


def collect(context: HostContext) -> tuple[Received, ...]:
    """Collect the files for finding a fault on a host, without secrets; `remote.support` lists them."""
    directory = context.host.directory
    return unpack(context.program("support", directory, what="the host's state could not be collected"))


def write_bundle(path: Path, collected: dict[str, tuple[Received, ...]]) -> None:
    """Write one archive with a directory for each host; readable by its owner alone.

    Raises:
        FailedPrecondition: the disk does not take it.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for host, files in collected.items():
            for each in files:
                member = tarfile.TarInfo(f"{path.name.split('.')[0]}/{host}/{each.name}")
                member.size, member.mode = len(each.content), 0o600
                tar.addfile(member, io.BytesIO(each.content))
    write(path.parent, Received(path.name, content.getvalue()))


def unpack(archive: bytes) -> tuple[Received, ...]:
    """The regular files of an archive, below no other directory.

    Raises:
        FailedPrecondition: it is not an archive.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            files = [(member, tar.extractfile(member)) for member in tar if member.isreg()]
            named = ((PurePosixPath(member.name), file) for member, file in files if file is not None)
            return tuple(
                Received(path.name, file.read())
                for path, file in named
                if len(path.parts) == 1 and _NAME.fullmatch(path.name) and path.name != ".."
            )
    except (tarfile.TarError, EOFError) as error:
        raise FailedPrecondition(f"the archive that came back cannot be read: {error}") from None


def write(directory: Path, received: Received) -> None:
    """Write a file into a local directory, which is made where it is missing; readable by its owner alone.

    Raises:
        FailedPrecondition: the disk does not take it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        durable.replace_whole(directory / received.name, received.content)
    except OSError as error:
        raise FailedPrecondition(f"{directory / received.name} cannot be written: {error.strerror}") from None
