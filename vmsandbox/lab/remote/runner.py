"""Run one command on a host of the laboratory, and end it when the one who asked for it is gone.

sshd does not tell a command without a terminal that its connection broke, and root's sessions take no signals. So the
command's end hangs on this program's standard input, which holds, in this order:

1. a line of JSON: `{"argv": ["make", "setup"], "cwd": "/", "stdin": 0, "program": ""}`,
2. as many bytes for the command's standard input as `stdin` says,
3. a line for each signal that the command shall have: `INT`,
4. the end, which ends the command: SIGTERM, and SIGKILL after `GRACE`.

Where `program` is the text of a program in Python, it runs in this process, with `argv` as its arguments: starting
Python takes longer than most of them. It ends at the first signal, and so do the processes that it has started.

The exit status is the command's; 128 and the number of the signal that ended it; 127 where it cannot be started.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

GRACE = 30.0
"""Seconds that a command has to end after SIGTERM."""

_CHUNK = 1 << 16


def main() -> int:
    """Run the command that standard input names; return the status."""
    source = sys.stdin.buffer
    request = json.loads(source.readline())
    argv, size = request["argv"], request["stdin"]
    if request["program"]:
        return _run_program(source, request["program"], argv)
    stdin = subprocess.PIPE if size else subprocess.DEVNULL
    try:
        child = subprocess.Popen(argv, cwd=request["cwd"], stdin=stdin, start_new_session=True)
    except OSError as error:
        print(f"{error.filename or argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    threading.Thread(target=_steer, args=(source, child, size), daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _run_program(source: IO[bytes], text: str, argv: list[str]) -> int:
    with contextlib.suppress(PermissionError):  # it leads a session, and so a group, already
        os.setpgrp()
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    threading.Thread(target=_end_program, args=(source,), daemon=True).start()
    sys.argv = argv
    try:
        exec(compile(text, argv[0], "exec"), {"__name__": "__main__"})  # noqa: S102 - the laboratory's own
    except SystemExit as ended:
        if not isinstance(ended.code, str):
            return ended.code or 0
        print(ended.code, file=sys.stderr, flush=True)
        return 1
    return 0


def _end_program(source: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        source.readline()
    os.killpg(0, signal.SIGTERM)


def _steer(source: IO[bytes], child: "subprocess.Popen[Any]", size: int) -> None:
    """Hand on what the command shall read, then signals; end it at the end."""
    with contextlib.suppress(OSError):  # sshd's end of a socket that it had not read from resets it
        if _feed(source, child, size):
            for line in source:
                _signal(child, signal.Signals[f"SIG{line.decode().strip()}"])
    _signal(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    _signal(child, signal.SIGKILL)


def _feed(source: IO[bytes], child: "subprocess.Popen[Any]", size: int) -> bool:
    """Whether all was there. A command that does not read it gets none, and the rest is still taken."""
    if child.stdin is None:
        return True
    while size and (piece := source.read(min(size, _CHUNK))):
        size -= len(piece)
        with contextlib.suppress(OSError):
            child.stdin.write(piece)
    with contextlib.suppress(OSError):
        child.stdin.close()
    return size == 0


def _signal(child: "subprocess.Popen[Any]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    os._exit(ended)  # without waiting for the thread, which reads
