"""The namespaces of a host, for the door's tests."""

import os

import pytest

from vmsandbox.oci import host_namespaces
from vmsandbox.oci.host_namespaces import Identity


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, Identity]:
    """Namespaces by their paths. Those of the processes that stand for containers, which are this one, are /of/KIND."""
    known = {f"/proc/self/ns/{kind}": (1, at) for at, kind in enumerate(("net", "ipc", "uts", "pid"))}
    for at, kind in enumerate(("net", "ipc", "uts", "pid")):
        known[f"/of/{kind}"] = known[f"/proc/{os.getpid()}/ns/{kind}"] = (1, 10 + at)
    monkeypatch.setattr(host_namespaces, "read_namespace", lambda path: known.setdefault(path, (2, len(known))))
    return known
