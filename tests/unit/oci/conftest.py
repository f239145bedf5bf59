"""The door over its socket, the runtime behind it, and the namespaces of a host."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.oci_runtime import OciRuntime
from vmsandbox.oci import host_namespaces, serving_oci
from vmsandbox.oci.host_namespaces import Identity
from vmsandbox.oci_command.daemon import Daemon


@pytest.fixture
async def runtime() -> AsyncIterator[OciRuntime]:
    made = OciRuntime()
    yield made
    await made.end_all()


@pytest.fixture
async def daemon(runtime: OciRuntime, tmp_path: Path) -> AsyncIterator[Daemon]:
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        yield Daemon(str(tmp_path / "oci.sock"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, Identity]:
    """Namespaces by their paths. Those of the processes that stand for containers, which are this one, are /of/KIND."""
    known = {f"/proc/self/ns/{kind}": (1, at) for at, kind in enumerate(("net", "ipc", "uts", "pid"))}
    for at, kind in enumerate(("net", "ipc", "uts", "pid")):
        known[f"/of/{kind}"] = known[f"/proc/{os.getpid()}/ns/{kind}"] = (1, 10 + at)
    monkeypatch.setattr(host_namespaces, "read_namespace", lambda path: known.setdefault(path, (2, len(known))))
    return known
