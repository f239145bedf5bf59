"""The log of the command (`--log`), as runc writes it; callers read the reason of a failure from its last line."""

import contextlib
import json
import os

from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.store import now

FORMATS = ("text", "json")


class Log:
    """Appends to a file, and tells a person on standard error."""

    def __init__(self, path: str, kind: str) -> None:
        """Nothing is opened yet.

        Args:
            path: of the file; empty: there is none.
            kind: of `FORMATS`; empty is text.
        """
        self._path = path
        self._as_json = kind == "json"

    def error(self, text: str) -> None:
        """Say why the command fails."""
        self._tell("error", text)

    def warning(self, text: str) -> None:
        """Say what went wrong although the command goes on."""
        self._tell("warning", text)

    def _tell(self, level: str, text: str) -> None:
        _print(text)
        if not self._path:
            return
        if self._as_json:
            line = json.dumps({"level": level, "msg": text, "time": now()})
        else:
            line = f'time="{now()}" level={level} msg={json.dumps(text)}'
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            _print(f"{self._path}: {error.strerror}")


def _print(text: str) -> None:
    """Write to standard error, which is a /dev/null that was opened for reading where containerd makes a sandbox.

    Python would try again at its end to write what could not be written, and change the exit status.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def check_format(kind: str) -> None:
    """Raise CommandError for a format of logs that there is not."""
    if kind and kind not in FORMATS:
        raise CommandError(f"invalid log-format: {kind}")
