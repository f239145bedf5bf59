"""Signals by their names and numbers (signal(7))."""

import re
import signal

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerConfig, ImageConfig

_REAL_TIME = re.compile(r"SIGRT(MIN|MAX)([+-]\d+)?")


def stop_signal(config: ContainerConfig, image: ImageConfig) -> int:
    """The number of the signal that asks the container to end: its own, its image's, or SIGTERM.

    Raises:
        InvalidArgument: there is no such signal.
    """
    name = config.stop_signal or image.stop_signal or "SIGTERM"
    try:
        return signal_number(name)
    except InvalidArgument as error:
        raise error.at(f"container {config.metadata.name}") from None


def signal_number(text: str) -> int:
    """Return the number of a signal: a name in any case, with or without SIG, or a number.

    Raises:
        InvalidArgument: there is no such signal.
    """
    name = text.upper()
    number = int(name) if name.isdecimal() else _by_name(name if name.startswith("SIG") else f"SIG{name}")
    if not 0 < number < signal.NSIG:
        raise InvalidArgument(f"there is no signal {name!r}")
    return number


def _by_name(name: str) -> int:
    if match := _REAL_TIME.fullmatch(name):
        return signal.Signals[f"SIGRT{match[1]}"].value + int(match[2] or 0)
    return signal.Signals[name].value if name in signal.Signals.__members__ else 0
