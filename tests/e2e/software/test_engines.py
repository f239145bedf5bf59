"""The examples of containers within a container, buildah's and docker's, in which stand-ins take their images' names.

What the examples have from a registry is given to them, as no registry is reached from a test's machine. docker takes
minutes and a large image: `VMSANDBOX_DOCKER=1 pytest tests/e2e/software/test_engines.py`.
"""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import DOCKER
from tests.standins.workshop import compile_static
from tests.support.pods import Node

EXAMPLES = Path(__file__).parents[3] / "examples"

FROM_NOTHING = """\
FROM scratch
COPY --chmod=755 answer /answer
RUN ["/answer"]
"""
FROM_AN_ARCHIVE = """
docker info --format 'driver {{.Driver}}'
tar -c -C /usr/bin answer | docker import - plain
docker save -o /tmp/plain.tar plain && docker rmi plain
docker load -i /tmp/plain.tar
docker run --rm plain /answer
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root"),
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("nothing_is_left_of_pods"),
]


def example(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def said(node: Node, container: str, *manifests: dict[str, Any]) -> list[str]:
    """Return the output of a container that succeeds."""
    ran = node.run(*manifests, timeout=600)
    assert ran.status == 0, ran.stdout + ran.stderr
    prefix = f"{container} | "
    return [line.removeprefix(prefix) for line in ran.stdout.splitlines() if line.startswith(prefix)]


def test_buildah_builds_an_image_on_a_volume(node: Node, tmp_path: Path) -> None:
    context, pod = example("buildah-pod.yaml")
    compile_static("nonewprivs.c", tmp_path / "answer")
    context["data"] = {"Containerfile": FROM_NOTHING}
    context["binaryData"] = {"answer": base64.b64encode((tmp_path / "answer").read_bytes()).decode()}
    lines = said(node, "builder", context, pod)
    assert "Effective uid: 0" in lines[lines.index('STEP 3/3: RUN ["/answer"]') :]
    assert lines[-1].startswith("localhost/greeting ")


@pytest.mark.skipif(not DOCKER, reason="takes minutes: set VMSANDBOX_DOCKER")
def test_docker_runs_an_image_that_was_loaded_from_an_archive(node: Node) -> None:
    (pod,) = example("docker-pod.yaml")
    pod["spec"]["containers"][0]["args"] = [FROM_AN_ARCHIVE]
    lines = said(node, "client", pod)
    assert (lines[0], lines[-1]) == ("driver overlay2", "Effective uid: 0")
