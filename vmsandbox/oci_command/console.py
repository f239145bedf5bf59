"""The terminal of a container, on the host: the caller is given one end, the container's process has the other.

The terminal that interprets keys is the one in the guest. This one passes bytes and the size of the window.
"""

import array
import fcntl
import os
import socket
import struct
import termios

_WINDOW = struct.Struct("HHHH")
_PATIENCE = 10
"""Seconds for a caller to take its end."""


def give(to: str | socket.socket) -> int:
    """Make a terminal, send its other end to the caller, and return ours.

    It becomes the terminal of this process, which leads a session: so it is told of changes of the window's size.

    Args:
        to: the path of the caller's socket (`--console-socket`), or one that is connected.

    Raises:
        OSError: the caller does not listen, or takes nothing (TimeoutError).
    """
    theirs, ours = os.openpty()
    _make_raw(ours)
    with _connected(to) as caller:
        rights = array.array("i", [theirs])
        caller.sendmsg([os.ttyname(ours).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(theirs)
    fcntl.ioctl(ours, termios.TIOCSCTTY, 0)
    return ours


def _connected(to: str | socket.socket) -> socket.socket:
    if not isinstance(to, str):
        return to
    caller = socket.socket(socket.AF_UNIX)
    try:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))
        caller.connect(to)
    except BlockingIOError:
        caller.close()
        raise TimeoutError(f"nobody takes the terminal at {to}") from None
    except BaseException:
        caller.close()
        raise
    return caller


def window(fd: int) -> tuple[int, int]:
    """Return columns and rows of a terminal; 0 where nobody has said them."""
    rows, columns, _, _ = _WINDOW.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINDOW.size)))
    return columns, rows


def set_window(fd: int, columns: int, rows: int) -> None:
    """Set the size of a terminal."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINDOW.pack(rows, columns, 0, 0))


def _make_raw(fd: int) -> None:
    mode = termios.tcgetattr(fd)
    mode[0] = mode[1] = mode[3] = 0  # no interpretation of input and output, no echo, no signals
    mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)
