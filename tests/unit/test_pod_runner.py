from pathlib import Path

import pytest

from tests.fakes.pod_observer import RecordingObserver
from tests.fakes.pod_runtime import FOREVER, FakePodRuntime, Script
from tests.support.pods import CHECKOUT, SETTINGS
from vmsandbox.pod.documents import read_manifest
from vmsandbox.pod.plan import PodPlan, plan_pod
from vmsandbox.pod.pod_life import PodPhase, PodResult
from vmsandbox.pod.restarts import BackoffSettings
from vmsandbox.pod.runner import run_pod
from vmsandbox.pod.volumes import PodDirectories
from vmsandbox.protocol.messages import Stream

IMAGE = "localhost/a:1"


class Running:
    """A pod with everything it runs on."""

    def __init__(self, directory: Path) -> None:
        self.runtime = FakePodRuntime()
        self.runtime.hold(IMAGE)
        self.observer = RecordingObserver()
        self.directories = PodDirectories(directory / "run", directory / "state")

    async def run(self, planned: PodPlan) -> PodResult:
        backoff = BackoffSettings(base=0.01, most=0.04)
        return await run_pod(planned, self.runtime, self.observer, self.directories, backoff)

    def events(self, *kinds: str) -> list[str]:
        return [event for event in self.observer.events if event.split()[0] in kinds]

    def nothing_is_left(self) -> bool:
        directories = (self.directories.runtime, self.directories.persistent)
        return not self.runtime.sandboxes and not any(directory.exists() for directory in directories)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


async def test_the_example_runs_to_its_end(running: Running) -> None:
    text = (CHECKOUT / "examples/hello-pod.yaml").read_text()
    running.runtime.hold("localhost/vmsandbox/hello:latest")
    running.runtime.scripts = {"web": [FOREVER], "client": [Script(((Stream.STDOUT, b"Hello\nagain"),))]}
    result = await running.run(plan_pod(read_manifest([("hello-pod.yaml", text)]), SETTINGS))
    assert (result.phase, result.exit_code) == (PodPhase.SUCCEEDED, 0)
    assert running.observer.events == [
        "held localhost/vmsandbox/hello:latest",
        "sandbox starting",
        "sandbox ready 10.0.0.2",
        "started web 0",
        "started client 0",
        "client: Hello",
        "client: again",
        "ended client 0 Completed",
        "ended web 143 Error",
    ]
    assert running.nothing_is_left()
