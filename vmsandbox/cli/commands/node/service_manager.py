"""Messages to the service manager (systemd): sd_notify(3)."""

import os
import socket
import time


def notify(state: str) -> None:
    """Tell how the daemon fares, e.g. `READY=1`; nothing where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall(state.encode())


def notify_reloading() -> None:
    """Tell that a reload has begun; `READY=1` tells its end."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
