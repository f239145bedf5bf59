"""The table of tests/parity: each behaviour here and under containerd with runc, in the same test, answers compared.

All containers of the table share one pod here and one there.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.parity.behaviour import Behaviour
from tests.parity.table import BEHAVIOURS
from tests.support.conformance import serving
from tests.support.conformance_client import Container, Cri, Pod, eventually
from tests.support.containerd import running_containerd

PRIVILEGED = {"security_context": {"privileged": True}}
OWN_PROCESSES = {"namespace_options": {"pid": pb.CONTAINER}}
"""As a kubelet asks for it where pods do not share processes."""


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pod, Pod]]:
    """A pod here, and one of the judge's."""
    if os.geteuid() != 0:
        pytest.skip("machines and containers need root")
    if not (shutil.which("containerd") and shutil.which("runc")):
        pytest.skip("containerd and runc, the judge, are not installed")
    with serving() as ours:
        directory = tmp_path_factory.mktemp("judge")
        with (
            running_containerd(directory / "containerd", ours.registry) as containerd,
            Cri.connect(containerd.socket, directory / "logs") as theirs,
            ours.cri.pod(linux=PRIVILEGED) as mine,
            theirs.pod(linux=PRIVILEGED) as judge,
        ):
            yield mine, judge


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Holds the volumes, where the users of pods may enter."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    return tmp_path


def answer(pod: Pod, behaviour: Behaviour, volumes: Path) -> tuple[int, str]:
    """Exit code and output of a behaviour's question."""
    mounts = [
        {"container_path": path, "host_path": str(_volume(volumes, behaviour.owner))} for path in behaviour.volumes
    ]
    if behaviour.places:
        once = _volume_with_parts(volumes, behaviour.owner)
        mounts += [
            {"container_path": place.path, "host_path": str(once / place.part), "readonly": place.readonly}
            for place in behaviour.places
        ]
    script = f"exec 2>&1; {behaviour.script or ':'}" + ("; sleep 1000" if behaviour.exec else "")
    container = pod.start(
        "sh", "-c", script, image=behaviour.image, mounts=mounts, security={**OWN_PROCESSES, **behaviour.security}
    )
    try:
        return _executed(container, behaviour.exec) if behaviour.exec else _ended(container)
    finally:
        container.remove()


def _volume(directory: Path, owner: tuple[int, int, int]) -> Path:
    volume = directory / uuid.uuid4().hex
    volume.mkdir()
    os.chown(volume, *owner[:2])
    volume.chmod(owner[2])
    (volume / "file").write_text("of the volume\n")
    return volume


def _volume_with_parts(directory: Path, owner: tuple[int, int, int]) -> Path:
    volume = _volume(directory, owner)
    (volume / "sub").mkdir()
    (volume / "sub").chmod(0o777)
    for name in ("page", "sub/page"):
        (volume / name).write_bytes(bytes(4096))
        (volume / name).chmod(0o666)
    return volume


def _ended(container: Container) -> tuple[int, str]:
    code = eventually(lambda: _exit_code(container))
    entries = (line.split(" ", 3) for line in container.log_file.read_text().splitlines())
    return code[0], "".join(f"{text}\n" for _, _, _, text in entries)


def _exit_code(container: Container) -> tuple[int] | None:
    status = container.status()
    return (status.exit_code,) if status.state == pb.CONTAINER_EXITED else None


def _executed(container: Container, command: str) -> tuple[int, str]:
    done = container.exec("sh", "-c", command)
    return done.exit_code, done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
def test_a_container_sees_what_it_sees_under_containerd(
    behaviour: Behaviour, pods: tuple[Pod, Pod], volumes: Path
) -> None:
    ours, theirs = (answer(pod, behaviour, volumes) for pod in pods)
    assert (ours == theirs) == (not behaviour.differs), f"here: {ours}\ncontainerd: {theirs}"
