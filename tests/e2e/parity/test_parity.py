"""The table of tests/parity: each behaviour here and under containerd with runc, in the same test, answers compared.

All containers of the table share one pod here and one there, and many behaviours one container.
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.parity.behaviour import Behaviour
from tests.parity.table import BEHAVIOURS
from tests.support.conformance_client import Container, Pod, eventually
from tests.support.judged import judged_pods
from vmsandbox.pod.plan.container_security import MASKED_PATHS, READONLY_PATHS

POD = {
    "linux": {"security_context": {"privileged": True}},
    "hostname": "parity",
    "dns_config": {"servers": ["192.0.2.53"], "searches": ["parity.example"], "options": ["ndots:5"]},
}
Answer = tuple[int, str, str]
"""Exit code, reason and output."""
AS_A_KUBELET = {
    "namespace_options": {"pid": pb.CONTAINER},
    "masked_paths": MASKED_PATHS,
    "readonly_paths": READONLY_PATHS,
}
"""What a kubelet says of each container unless the pod wants it otherwise."""


@dataclass
class Side:
    """A pod of one of the two runtimes, and its containers that behaviours share."""

    pod: Pod
    directory: Path
    """For volumes, where the users of pods may enter."""
    shared: dict[str, tuple[Container, Path]] = field(default_factory=dict)
    """Containers and the directory of their first volume, by what they are."""

    def answer(self, behaviour: Behaviour) -> Answer:
        """What a behaviour's question is answered."""
        if behaviour.exec and not (behaviour.script or behaviour.places):
            return self._of_shared(behaviour)
        container, _ = self._start(behaviour)
        try:
            return _executed(container, behaviour.exec) if behaviour.exec else _ended(container)
        finally:
            container.remove()

    def _of_shared(self, behaviour: Behaviour) -> Answer:
        key = repr(replace(behaviour, name="", source="", exec="", differs=""))
        if key not in self.shared:
            self.shared[key] = self._start(behaviour)
        container, volume = self.shared[key]
        if not behaviour.volumes:
            return _executed(container, behaviour.exec)
        place = _volume(volume, behaviour.owner)
        return _executed(container, f"cd {behaviour.volumes[0]}/{place.name}; {behaviour.exec}")

    def _start(self, behaviour: Behaviour) -> tuple[Container, Path]:
        volumes = {path: _volume(self.directory, behaviour.owner) for path in behaviour.volumes}
        mounts = [
            {"container_path": path, "host_path": str(volume), "readonly": behaviour.read_only}
            for path, volume in volumes.items()
        ]
        if behaviour.places:
            once = _volume_with_parts(self.directory, behaviour.owner)
            mounts += [
                {"container_path": place.path, "host_path": str(once / place.part), "readonly": place.readonly}
                for place in behaviour.places
            ]
        script = f"exec 2>&1; {behaviour.script or ':'}" + ("; sleep 1000" if behaviour.exec else "")
        security = {**AS_A_KUBELET, **behaviour.security}
        container = self.pod.start(
            "sh", "-c", script, image=behaviour.image, mounts=mounts, security=security, **behaviour.config
        )
        return container, next(iter(volumes.values()), self.directory)


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    """A pod here, and one of the judge's."""
    with judged_pods(POD) as (ours, theirs, directory):
        yield Side(ours, directory), Side(theirs, directory)


def _volume(directory: Path, owner: tuple[int, int, int]) -> Path:
    volume = directory / uuid.uuid4().hex
    volume.mkdir()
    os.chown(volume, *owner[:2])
    volume.chmod(owner[2])
    (volume / "file").write_text("of the volume\n")
    (volume / "file").chmod(0o666)
    return volume


def _volume_with_parts(directory: Path, owner: tuple[int, int, int]) -> Path:
    volume = _volume(directory, owner)
    (volume / "sub").mkdir()
    (volume / "sub").chmod(0o777)
    for name in ("page", "sub/page"):
        (volume / name).write_bytes(bytes(4096))
        (volume / name).chmod(0o666)
    return volume


def _ended(container: Container) -> Answer:
    status = eventually(lambda: _exited(container.status()))
    entries = (line.split(" ", 3) for line in container.log_file.read_text().splitlines())
    return status.exit_code, status.reason, "".join(f"{text}\n" for _, _, _, text in entries)


def _exited(status: pb.ContainerStatus) -> pb.ContainerStatus | None:
    return status if status.state == pb.CONTAINER_EXITED else None


def _executed(container: Container, command: str) -> Answer:
    done = container.exec("sh", "-c", command)
    return done.exit_code, "", done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
def test_a_container_sees_what_it_sees_under_containerd(behaviour: Behaviour, sides: tuple[Side, Side]) -> None:
    ours, theirs = (side.answer(behaviour) for side in sides)
    assert (ours == theirs) == (not behaviour.differs), f"here: {ours}\ncontainerd: {theirs}"
