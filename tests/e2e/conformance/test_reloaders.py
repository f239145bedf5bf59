"""Programs that reload what they were configured with: they watch a ConfigMap or a Secret (inotify(7)).

The judge is the same program on the host: under runc a container has the volume's own inodes, and sees what it sees.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.workshop import compile_static
from tests.support.atomic_writer import make_volume, write
from tests.support.conformance_client import Container, Pod, eventually

KINDS = ("configmap", "secret", "projected", "downward-api")


@pytest.fixture(scope="module")
def reloader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("reloader") / "reloader"
    compile_static("reloader.c", program)
    return program


@pytest.fixture(params=KINDS[:2])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_volume(tmp_path, {"key": "one\n", "old": "x"}, kind=f"volumes/kubernetes.io~{request.param}")


@pytest.fixture
def judge(reloader: Path, volume: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [reloader, volume, volume / "key"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def start(pod: Pod, reloader: Path, volume: Path) -> Container:
    mounts = [
        {"container_path": "/reloader", "host_path": str(reloader), "readonly": True},
        {"container_path": "/etc/config", "host_path": str(volume), "readonly": True},
    ]
    container = pod.start("/reloader", "/etc/config", "/etc/config/key", mounts=mounts)
    eventually(lambda: said(container))
    return container


def said(container: Container) -> list[str]:
    """Return the output of a reloader so far."""
    return [line.split(" ", 3)[3] for line in container.log_file.read_text().splitlines() if " F " in line]


def told(lines: list[str]) -> list[str]:
    """Return the lines without parts that differ in each run: names of versions, and repetitions."""
    named = (re.sub(r"\.\.[0-9]\S*", "VERSION", line) for line in lines)
    return [line for line in named if line and not re.fullmatch(r"event \d 40000004 VERSION", line)]


def test_containers_see_what_the_kubelet_changes_within_a_second(
    pod: Pod, reloader: Path, volume: Path, judge: "subprocess.Popen[str]"
) -> None:
    assert judge.stdout is not None
    containers = [start(pod, reloader, volume) for _ in range(2)]
    assert [said(each)[0] for each in containers] == ["reloaded one"] * 2
    for content, files in (("two", {"new": "y"}), ("three", {"new": "z"}), ("four", {"tls/key": "k"})):
        begin = time.monotonic()
        write(volume, {"key": f"{content}\n", **files})
        for container in containers:
            eventually(lambda each=container, line=f"reloaded {content}": line in said(each), 10)
        assert time.monotonic() - begin < 1
    eventually(lambda: any(re.fullmatch(r"event 1 40000200 \.\.\d.*", line) for line in said(containers[0])[-3:]))
    judge.kill()
    expected = told(judge.stdout.read().splitlines())
    assert "event 1 80 ..data" in expected and "event 2 400 -" in expected, "moved to; the file itself deleted"
    for container in containers:
        assert told(said(container)) == expected
        assert container.output("cat", "/etc/config/key", "/etc/config/tls/key") == "four\nk"
        assert container.exec("sh", "-c", "echo x >/etc/config/key").exit_code != 0
        container.remove()
