"""Logging: one logger per module under `vmsandbox`, set up once by the CLI.

Messages name the pod or container by id. Credentials never reach a logger (`images.skopeo.credentials` holds them).
`about` says which pod and container the messages of a piece of work are about, `within` which call they come from;
`of_error` adds an error's evidence.

Where standard error is the journal, lines have the priorities of sd-daemon(3) and no time, since the journal has its
own. Text that a guest chose cannot begin a line, nor reach a terminal with its control characters.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from vmsandbox.log.flood import Flood
from vmsandbox.log.formats import FORMATS, Line
from vmsandbox.log.request import Request, current_request, in_request, within
from vmsandbox.log.subject import Subject, about
from vmsandbox.log.subject import current as current_subject

__all__ = [
    "FORMATS",
    "Request",
    "Subject",
    "about",
    "adopt",
    "configure",
    "current_request",
    "current_subject",
    "get",
    "in_request",
    "of_error",
    "to_journal",
    "within",
]


def configure(level: str = "info", form: str = "text") -> None:
    """Send the project's log lines at `level` (debug, info, warning, error) and above to stderr, in one of `FORMATS`.

    It may be called again: the last call counts.
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(FORMATS[form](journal=to_journal(os.environ)))
    handler.addFilter(Flood())
    root = logging.getLogger("vmsandbox")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def get(name: str) -> logging.Logger:
    """The logger of a module: `log = get(__name__)`."""
    return logging.getLogger(name)


def adopt(name: str) -> None:
    """Write the warnings of a library, whose loggers have this name, as our own."""
    library = logging.getLogger(name)
    library.handlers[:] = logging.getLogger("vmsandbox").handlers
    library.setLevel(logging.WARNING)
    library.propagate = False


def of_error(error: BaseException) -> Mapping[str, Any]:
    """Add the evidence and the hint of an error to a message: `_log.error("…: %s", error, extra=of_error(error))`."""
    return {Line.ERROR: error}


def to_journal(environment: Mapping[str, str]) -> bool:
    """Whether standard error is the journal: JOURNAL_STREAM has its device and inode (systemd.exec(5))."""
    try:
        stderr = os.fstat(2)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


class _Handler(logging.StreamHandler[Any]):
    """Writes lines; one that cannot be written is lost, since nothing is left to say so on."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        pass
