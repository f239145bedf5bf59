"""Logging: one logger per module under `vmsandbox`, set up once by the CLI.

Messages name the pod or container by id. Credentials never reach a logger (`images.skopeo.credentials` holds them).
"""

import logging
import sys


def configure(level: str = "info") -> None:
    """Send the project's log lines at `level` (debug, info, warning, error) and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("vmsandbox")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def get(name: str) -> logging.Logger:
    """The logger of a module: `log = get(__name__)`."""
    return logging.getLogger(name)
