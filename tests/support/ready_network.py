"""A network namespace that is ready, as callers of an OCI runtime make them before a container."""

import contextlib
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def ready_network(name: str, host: str, guest: str) -> Iterator[str]:
    """Make the namespace for the body, and give its path; `host` and `guest` are the addresses of its two ends."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"{host}/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "address", "add", f"{guest}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "route", "add", "default", "via", host)
        yield f"/run/netns/{name}"
    finally:
        ip("netns", "delete", name)
