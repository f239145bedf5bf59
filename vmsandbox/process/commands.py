"""Programs that are started and waited for, and helpers that outlive this process.

Arguments are always lists; no shell is ever involved.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Internal, Unavailable
from vmsandbox.process.confinement import TOOLS, Confinement, unprotected
from vmsandbox.process.identity import ProcessIdentity, oom_score_of

STDERR_KEPT = 8 * 1024
"""Bytes of a command's stderr that an error carries."""

_MOST_OUTPUT = 64 << 20
"""Bytes of a command's stdout, and of its stderr, that are taken into memory; the most is an image's index of 4 MiB."""

_IGNORING_PIPES = ("env", "--ignore-signal=PIPE", "--")

_DYING = 5.0
"""Seconds in which a killed command ends; one that the kernel has waiting for a disk may take for ever."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The output of a command that succeeded."""

    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    output: int | IO[bytes] = asyncio.subprocess.PIPE,
    confinement: Confinement | None = None,
    descriptors: Sequence[int] = (),
    umask: int = -1,
) -> Completed:
    """Run a command to its end and return what it printed.

    On cancellation and at the deadline its whole process group is killed and reaped.

    Args:
        argv: the program and its arguments; no secret may be among them.
        stdin: bytes it can read.
        timeout: seconds.
        env: its whole environment; None inherits this process's.
        check: raise when the exit status is not 0.
        output: where stdout goes, if it is not returned.
        confinement: with what it runs; None: with all that this process has, except for its protection from the
            kernel's search for a process to kill.
        descriptors: open files that it inherits, under the same numbers.
        umask: of the command; -1: this process's.

    Raises:
        FailedPrecondition: the program, or one that confines it, is not installed.
        DeadlineExceeded: it did not end in time.
        Internal: it ended with another status than 0, stderr being the evidence; it printed too much.
    """
    process = await _spawn(_command_line(argv, confinement), env, output, descriptors, umask)
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await _communicate(process, argv[0], stdin)
    except TimeoutError:
        raise DeadlineExceeded(f"{argv[0]} did not end within {timeout:g} s") from None
    finally:
        await _kill_group(process)
    if check and process.returncode != 0:
        raise Internal(
            f"{Path(argv[0]).name} ended with status {process.returncode}",
            evidence={"stderr": stderr[-STDERR_KEPT:].decode(errors="replace")},
        )
    return Completed(stdout, stderr)


async def _communicate(process: asyncio.subprocess.Process, program: str, stdin: bytes) -> tuple[bytes, bytes]:
    """Communicate like asyncio, with bounds: a program that was taken over by its input may print without end."""
    stdout, stderr, _ = await asyncio.gather(
        _read(process, process.stdout), _read(process, process.stderr), _feed(process, stdin)
    )
    await process.wait()
    if max(len(stdout), len(stderr)) > _MOST_OUTPUT:
        raise Internal(f"{program} printed more than {_MOST_OUTPUT >> 20} MiB")
    return stdout, stderr


async def _read(process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end. A process that prints too much is killed, and what it prints beyond that is dropped."""
    content = bytearray()
    while stream and (piece := await stream.read(1 << 16)):
        if len(content) <= _MOST_OUTPUT:
            content += piece
        else:
            _signal_group(process)
    return bytes(content)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it does not read all of it
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _spawn(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    output: int | IO[bytes],
    descriptors: Sequence[int] = (),
    umask: int = -1,
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            start_new_session=True,
            pass_fds=descriptors,
            umask=umask,
        )
    except FileNotFoundError:
        raise _not_installed(argv[0]) from None


def _command_line(argv: Sequence[str], confinement: Confinement | None) -> Sequence[str]:
    """The command line to execute."""
    if confinement is None:
        command = unprotected(argv, oom_score_of("self"))
        _check_installed(command[0], argv[0])
        return command
    _check_installed(*TOOLS, argv[0])
    if os.geteuid() != 0:
        raise FailedPrecondition(
            f"{argv[0]} is started with fewer rights than root, which only root can do", hint="use sudo"
        )
    return confinement.wrap(argv)


def _check_installed(*programs: str) -> None:
    """Raise FailedPrecondition for one that is missing: what others would say of it is not for people."""
    for program in programs:
        if shutil.which(program) is None:
            raise _not_installed(program)


def _not_installed(program: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the program {program} is not installed", hint="`vmsandbox check` lists what this host needs"
    )


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill a command and wait for its end, except for one that waits for a disk: that ends when the disk answers."""
    if process.returncode is not None:
        return
    _signal_group(process)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DYING):
            await process.wait()


def _signal_group(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def echoing(argv: Sequence[str]) -> AsyncIterator[int]:
    """Run a helper that ends up as cat(1) while the context lasts; the pid, when it has echoed its first byte.

    Raises:
        FailedPrecondition: the program is not installed.
        Internal: it ended instead; stderr is the evidence.
    """
    process = await _spawn(_command_line(argv, None), None, asyncio.subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        process.stdin.write(b"\n")
        if not await process.stdout.read(1):
            stderr = (await process.stderr.read(STDERR_KEPT)).decode(errors="replace")
            raise Internal(f"{Path(argv[0]).name} ended at once", evidence={"stderr": stderr})
        yield process.pid
    finally:
        process.stdin.close()
        await _kill_group(process)


async def start_daemon(
    argv: Sequence[str],
    log: Path,
    confinement: Confinement | None = None,
    descriptors: Sequence[int] = (),
    most: int | None = None,
) -> ProcessIdentity:
    """Start a helper in a session of its own that outlives this process; its output goes to `log`.

    The caller owns it: record the identity, and end it with `ProcessIdentity.kill`. A confinement keeps the helper's
    process id, and must not have it end with this process. It inherits `descriptors`, under the same numbers.

    With `most` the log has at most so many bytes, the first ones: a head(1) writes it, which ends with the helper or
    before, and the helper has to go on without (SIGPIPE is ignored). A helper that writes no other files has a limit of
    file sizes instead, which needs no process.

    Raises:
        FailedPrecondition: the program, or one that confines it, is not installed.
        Unavailable: it ended at once; what it printed is the evidence.
    """
    command = _command_line(argv, confinement)
    with _output(log, most) as output:
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's transport kills its child when it is collected
                [*_IGNORING_PIPES, *command] if most is not None else command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=descriptors,
            )
        except FileNotFoundError:
            raise _not_installed(argv[0]) from None
    threading.Thread(target=process.wait, name=f"reaper of {argv[0]}", daemon=True).start()
    identity = ProcessIdentity.of(process.pid)
    if identity is None:
        raise Unavailable(f"{argv[0]} ended at once", evidence={"output": _text(log)})
    return identity


@contextlib.contextmanager
def _output(log: Path, most: int | None) -> Iterator[IO[bytes]]:
    """Where a helper is to write for its log; its own copy of the descriptor stays with it."""
    with log.open("wb") as file:
        if most is None:
            yield file
            return
        reader = subprocess.Popen(
            ["head", f"--bytes={most}"], stdin=subprocess.PIPE, stdout=file, start_new_session=True
        )
        assert reader.stdin is not None
        threading.Thread(target=reader.wait, name=f"reaper of head of {log}", daemon=True).start()
        with reader.stdin:
            yield reader.stdin


def _text(log: Path) -> str:
    return log.read_text(errors="replace")
