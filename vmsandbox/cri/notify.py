"""Tells the service manager how the daemon fares (sd_notify(3), "Notes": the protocol is stable and open)."""

import os
import socket


def notify(state: str) -> None:
    """Send e.g. `READY=1` or `STOPPING=1`; does nothing where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall(state.encode())
