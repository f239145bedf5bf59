"""Processes of users that have no account, as those of machines are; only root can start them."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def process_of(
    user: int, command: Sequence[str] = ("sleep", "1000"), *, ready: bytes = b""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as a user while the context lasts, from when it has written `ready`."""
    with subprocess.Popen(
        ["setpriv", f"--reuid={user}", *command], stdout=subprocess.PIPE if ready else None
    ) as process:
        try:
            while Path(f"/proc/{process.pid}").stat().st_uid == 0:
                pass
            if process.stdout is not None:
                assert process.stdout.read(len(ready)) == ready
            yield process
        finally:
            process.kill()
