"""The socket of a process that runs a pod without the daemon."""

import pytest

from tests.fakes.runtime import FakeImages, FakeRuntime
from tests.support.cri import IMAGE
from vmsandbox.config import Config
from vmsandbox.cri import own_runtime
from vmsandbox.cri.client import connected
from vmsandbox.cri.server import NodeInfo
from vmsandbox.errors import FailedPrecondition
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    PodSandboxConfig,
    PodSandboxMetadata,
)

POD = PodSandboxConfig(PodSandboxMetadata("job", "uid", "default"))
CONTAINER = ContainerConfig(ContainerMetadata("main"), IMAGE.id, log_path="main.log")


async def _ready() -> None:
    pass


async def test_root_alone_reaches_its_pod_which_takes_no_brothers(tmp_path):
    images = FakeImages(tmp_path / "images")
    images.held[IMAGE.id] = IMAGE
    runtime, path = FakeRuntime(images), tmp_path / "cri.sock"
    sandbox = await runtime.run_pod_sandbox(POD)
    container = await runtime.create_container(sandbox, CONTAINER)
    await runtime.start_container(container)
    node = NodeInfo(("",), _ready, tmp_path)
    runtime.check_attach = lambda request: None
    async with own_runtime._served(runtime, Config(), node, path), connected(path) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.id for each in await client.list_pod_sandboxes()] == [sandbox]
        assert (await client.attach_url(AttachRequest(container, stdout=True))).startswith("http://127.0.0.1:")
        for refused in (client.run_pod_sandbox(POD), client.create_container(sandbox, CONTAINER)):
            with pytest.raises(FailedPrecondition, match="takes no others"):
                await refused
        await client.stop_container(container, 1)
        assert runtime.container_status(container).state is ContainerState.EXITED


async def test_a_log_that_has_become_too_long_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(own_runtime, "MOST_LOG", 10)
    log = tmp_path / "main.log"
    reopened = []

    class Reopening:
        async def reopen_container_log(self, container_id: str) -> None:
            reopened.append(container_id)

    log.write_bytes(b"x" * 10)
    await own_runtime.rotate(Reopening(), "c", log)
    assert reopened == []
    log.write_bytes(b"x" * 11)
    await own_runtime.rotate(Reopening(), "c", log)
    assert (reopened, log.exists(), (tmp_path / "main.log.1").stat().st_size) == (["c"], False, 11)
    await own_runtime.rotate(Reopening(), "c", log)  # It has gone with its container.
