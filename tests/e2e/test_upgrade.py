"""A pod that an older vmsandbox has started goes on under this one, with the agent and the records that it has.

The agent in the machine is the released one; the records are rewritten as the release wrote them.
"""

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.released import AGENTS, make_schema_1
from tests.support.conformance_client import Container, Pod, eventually
from tests.support.qemu import GUEST_IMAGE
from tests.support.released_image import make_released_image
from tests.support.restartable import Node, restartable_node

if os.geteuid() != 0:
    pytest.skip("machines and their networks need root", allow_module_level=True)

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    for directory in (tmp_path, *tmp_path.parents):  # QEMU's user opens the image
        if directory.stat().st_mode & 0o777 == 0o700:
            directory.chmod(0o711)
    image = await make_released_image(AGENTS[-1], tmp_path)
    # Of two images, each would be tried with KVM first.
    machine = {"memory": "192Mi", "boot_deadline": 180, "accelerator": "tcg"}
    with restartable_node(guest_image=str(image), machine=machine) as node:
        yield node


def again(node: Node, container: Container) -> Container:
    return Container(Pod(node.cri, container.pod.id, container.pod.config), container.id, container.config)


def lines(container: Container) -> list[str]:
    path = Path(container.pod.config.log_directory) / container.config.log_path
    return [line.split(" ", 3)[3] for line in path.read_text().splitlines()]


def damage(node: Node, sandbox_id: str) -> None:
    with contextlib.closing(sqlite3.connect(node.database)) as database, database:
        (body,) = database.execute("SELECT body FROM record WHERE id = ?", (sandbox_id,)).fetchone()
        broken = json.dumps({**json.loads(body), "timings": "unknown"})
        database.execute("UPDATE record SET body = ? WHERE id = ?", (broken, sandbox_id))


def test_a_pod_goes_on_through_an_upgrade_and_is_ended_when_its_record_breaks(node: Node) -> None:
    container = node.cri.run_pod().start("sh", "-c", COUNT)
    eventually(lambda: lines(container))
    node.end(signal.SIGKILL)
    make_schema_1(node.database)
    node.configure(guest_image=str(GUEST_IMAGE))
    node.start()
    container = again(node, container)

    assert container.output("echo", "still here") == "still here\n"
    before = len(lines(container))
    eventually(lambda: len(lines(container)) > before + 10)
    written = lines(container)
    assert written == [f"line {number}" for number in range(1, len(written) + 1)]
    request = pb.ContainerStatsRequest(container_id=container.id)
    eventually(lambda: node.cri.runtime.ContainerStats(request).stats.cpu.usage_core_nano_seconds.value)
    assert container.pod.run("echo", "new").stdout == "new\n"
    log = (node.directory / "serve.log").read_text()
    assert "is migrated from schema 1 to 2" in log
    assert "its agent is of another version of vmsandbox" in log
    assert node.database.with_name("state.db.schema-1").exists()

    node.end(signal.SIGKILL)
    damage(node, container.pod.id)
    node.start()
    container = again(node, container)
    eventually(lambda: not node.sandboxes())
    (listed,) = node.cri.list_pods()
    assert (listed.state, listed.metadata.name) == (pb.SANDBOX_NOTREADY, container.pod.config.metadata.name)
    status = pb.PodSandboxStatusRequest(pod_sandbox_id=container.pod.id, verbose=True)
    assert "cannot be read: sandbox.timings" in str(node.cri.runtime.PodSandboxStatus(status).info)
    assert container.status().state == pb.CONTAINER_EXITED
    container.pod.stop()
    container.pod.remove()
    node.restart(signal.SIGTERM)
    assert not node.cri.list_pods()
    assert not node.database.with_name("state.db.schema-1").exists()
