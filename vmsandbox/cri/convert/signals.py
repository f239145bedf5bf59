"""Signal: the CRI's numbering, and the names that images and people use."""

import re
import signal

from cri_api.v1 import api_pb2 as api

_PLUS = re.compile(r"SIGRT(MIN|MAX)(?:PLUS|MINUS)(\d+)")
_NAMED = re.compile(r"SIGRT(MIN|MAX)[+-](\d+)")


def signal_from_cri(wire: api.Signal.ValueType) -> str:
    """The name, e.g. SIGTERM or SIGRTMIN+3 (as docker and systemd write it); empty for RUNTIME_DEFAULT."""
    if wire == api.RUNTIME_DEFAULT:
        return ""
    name = api.Signal.Name(wire)
    return _PLUS.sub(lambda m: f"SIGRT{m[1]}{'+' if m[1] == 'MIN' else '-'}{m[2]}", name)


def signal_to_cri(name: str) -> api.Signal.ValueType:
    """The signal of a name, with or without SIG, or of a number; RUNTIME_DEFAULT for one that the CRI does not have."""
    full = _of_number(int(name)) if name.isdecimal() else name.upper()
    full = full if full.startswith("SIG") else f"SIG{full}"
    full = _NAMED.sub(lambda m: f"SIGRT{m[1]}{'PLUS' if m[1] == 'MIN' else 'MINUS'}{m[2]}", full)
    try:
        return api.Signal.Value(full)
    except ValueError:
        return api.RUNTIME_DEFAULT


def _of_number(number: int) -> str:
    if signal.SIGRTMIN < number <= signal.SIGRTMIN + 15:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    if signal.SIGRTMAX - 14 <= number < signal.SIGRTMAX:
        return f"SIGRTMAX-{signal.SIGRTMAX - number}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
