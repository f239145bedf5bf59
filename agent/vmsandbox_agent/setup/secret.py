"""The machine's secret, read once from the port on which the host offers it (docs/protocol.md, "The secret")."""

import time
from pathlib import Path

from vmsandbox.protocol.secret import PORT_NAME, SECRET_BYTES

PORTS = Path("/sys/class/virtio-ports")
_DEADLINE = 30.0
"""Seconds in which the host has to connect to the port; it does so when the machine has been started."""
_PAUSE = 0.02


def read_secret(ports: Path = PORTS, devices: Path = Path("/dev"), deadline: float = _DEADLINE) -> bytes:
    """Return the secret, which nobody can read again: it is in no file, and the port is empty now.

    Empty where the machine has no such port: its host is of a version that gives none.

    Raises:
        TimeoutError: the host gives none in time.
    """
    for port in ports.glob("*/name"):
        if port.read_text(encoding="ascii").strip() == PORT_NAME:
            return _read(devices / port.parent.name, time.monotonic() + deadline)
    return b""


def _read(device: Path, end: float) -> bytes:
    """Until the host has connected, reading ends at once without a byte (virtio_console.c, port_fops_read)."""
    secret = b""
    with device.open("rb", buffering=0) as port:
        while len(secret) < SECRET_BYTES:
            piece = port.read(SECRET_BYTES - len(secret)) or b""
            secret += piece
            if not piece:
                _wait(end)
    return secret


def _wait(end: float) -> None:
    if time.monotonic() > end:
        raise TimeoutError("the host sent no secret on its port")
    time.sleep(_PAUSE)
