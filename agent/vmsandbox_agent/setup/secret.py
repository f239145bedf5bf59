"""The machine's secret, read once from the port on which the host offers it (docs/protocol.md, "The secret").

Opening the port tells the host that the machine has booted. A machine that belongs to nobody yet waits here for its
claim; what it does before this has to be right for every machine that is made from its saved state.
"""

import time
from pathlib import Path

from vmsandbox.protocol.secret import PORT_NAME, SECRET_BYTES

PORTS = Path("/sys/class/virtio-ports")
_PAUSE = 0.02


def read_secret(ports: Path = PORTS, devices: Path = Path("/dev")) -> bytes:
    """Return the secret, when the host gives it. Nobody can read it again: it is in no file, and the port is empty now.

    Empty where the machine has no such port: its host is of a version that gives none.
    """
    for port in ports.glob("*/name"):
        if port.read_text(encoding="ascii").strip() == PORT_NAME:
            return _read(devices / port.parent.name)
    return b""


def _read(device: Path) -> bytes:
    """Until the host has connected, reading ends at once without a byte (virtio_console.c, port_fops_read)."""
    secret = b""
    with device.open("rb", buffering=0) as port:
        while len(secret) < SECRET_BYTES:
            piece = port.read(SECRET_BYTES - len(secret)) or b""
            secret += piece
            if not piece:
                time.sleep(_PAUSE)
    return secret
