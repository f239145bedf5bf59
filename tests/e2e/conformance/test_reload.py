"""A daemon that serves reads its configuration again, and its journal says what happens."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance import Serving
from tests.support.conformance_client import Pod
from tests.support.waiting import eventually


@pytest.fixture
def file(daemon: Serving) -> Iterator[Path]:
    """The daemon's configuration, which is afterwards as it was."""
    path = daemon.directory / "config.yaml"
    before = path.read_text()
    yield path
    path.write_text(before)
    reloaded(daemon)


def reloaded(daemon: Serving) -> str:
    """Have the daemon reload; the line that it logs."""
    before = len(daemon.log())
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration is " in daemon.log()[before:])
    return daemon.log()[before:]


def handlers(daemon: Serving) -> set[str]:
    return {each.name for each in daemon.cri.runtime.Status(pb.StatusRequest()).runtime_handlers}


def test_a_handler_that_is_added_can_be_used_and_what_needs_a_restart_is_named(daemon: Serving, file: Path) -> None:
    assert "added" not in handlers(daemon)
    settings = yaml.safe_load(file.read_text())
    settings["handlers"]["added"] = {"vcpus": 2}
    file.write_text(yaml.safe_dump(settings | {"socket_group": "root"}))
    said = reloaded(daemon)
    assert "takes effect for new pods: handlers.added; needs a restart: socket_group" in said
    assert "added" in handlers(daemon)


def test_a_file_with_a_mistake_changes_nothing(daemon: Serving, file: Path) -> None:
    before = handlers(daemon)
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, "handlers": {}, "streaming": {"port": 99999}}))
    assert "nothing changes: " in (said := reloaded(daemon))
    assert "streaming.port: 99999 is not a port" in said
    assert handlers(daemon) == before


def test_the_life_of_a_pod_is_in_the_journal(daemon: Serving, pod: Pod) -> None:
    named = f"pod {pod.config.metadata.namespace}/{pod.config.metadata.name} ({pod.id})"
    assert f"pods: {named} is being made: vCPUs 1, memory 320 MiB, handler vmsandbox" in daemon.log()
    assert f"pods: {named} is ready after " in daemon.log()
