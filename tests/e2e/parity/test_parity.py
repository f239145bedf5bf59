"""The table of tests/parity: each behaviour here and under containerd with runc, in the same test, answers compared.

All containers of the table share one pod here and one there, and many behaviours one container.
"""

import contextlib
import os
import re
import stat
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.parity.behaviour import Behaviour
from tests.parity.table import BEHAVIOURS
from tests.support.block import MIB, loop_device
from tests.support.conformance_client import Container, Pod, eventually
from tests.support.judged import judged_pods
from vmsandbox.pod.plan.container_security import MASKED_PATHS, READONLY_PATHS

POD = {
    "linux": {"security_context": {"privileged": True}},
    "hostname": "parity",
    "dns_config": {"servers": ["192.0.2.53"], "searches": ["parity.example"], "options": ["ndots:5"]},
}
Answer = tuple[int, str, str]
"""Exit code, reason (of a container that is a behaviour's alone) and output."""
END = "-- the end of a script, with"
AS_A_KUBELET = {
    "namespace_options": {"pid": pb.CONTAINER},
    "masked_paths": MASKED_PATHS,
    "readonly_paths": READONLY_PATHS,
}
"""The settings that a kubelet gives to each container by default."""


@dataclass
class Side:
    """A pod of one of the two runtimes, and its containers that behaviours share."""

    pod: Pod
    directory: Path
    """For volumes, where the users of pods may enter."""
    devices: contextlib.ExitStack
    """Gives the loop devices back that containers have had."""
    shared: dict[str, tuple[Container, Path]] = field(default_factory=dict)
    """Containers that commands share, and the directory of their first volume."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """The answers of scripts that shared a container, by the name of the behaviour."""

    def answer(self, behaviour: Behaviour) -> Answer:
        """Return the answer to a behaviour's question."""
        if behaviour.exec:
            return self._of_command(behaviour)
        if behaviour.alone:
            return self._ended(behaviour, behaviour.script)
        if behaviour.name not in self.answers:
            self._run_together([each for each in BEHAVIOURS if _share(each, behaviour)])
        return self.answers[behaviour.name]

    def _of_command(self, behaviour: Behaviour) -> Answer:
        key = behaviour.container + behaviour.script
        if key not in self.shared:
            self.shared[key] = self._start(behaviour, f"{behaviour.script or ':'}; sleep 1000")
        container, volume = self.shared[key]
        if not behaviour.volumes:
            return _executed(container, behaviour.exec)
        place = _volume(volume, behaviour.owner)
        return _executed(container, f"cd {behaviour.volumes[0]}/{place.name}; {behaviour.exec}")

    def _run_together(self, behaviours: Sequence[Behaviour]) -> None:
        """Run scripts in one container, one after the other; its output has where each of them ended, and how."""
        script = "".join(f"( {each.script}\n)\nprintf '\n{END} %d\n' $?\n" for each in behaviours)
        _, _, said = self._ended(behaviours[0], script)
        for each, (text, code) in zip(behaviours, re.findall(rf"(.*?)\n{END} (\d+)\n", said, re.DOTALL), strict=True):
            self.answers[each.name] = int(code), "", text

    def _ended(self, behaviour: Behaviour, script: str) -> Answer:
        container, _ = self._start(behaviour, script)
        try:
            return _ended(container)
        finally:
            container.remove()

    def _start(self, behaviour: Behaviour, script: str) -> tuple[Container, Path]:
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
        config = {"security": {**AS_A_KUBELET, **behaviour.security}, "devices": self._devices(behaviour)}
        container = self.pod.start(
            "sh", "-c", f"exec 2>&1; {script}", image=behaviour.image, mounts=mounts, **config, **behaviour.config
        )
        return container, next(iter(volumes.values()), self.directory)

    def _devices(self, behaviour: Behaviour) -> list[dict[str, str]]:
        return [
            {"container_path": path, "host_path": str(self._disk()), "permissions": permissions}
            for path, permissions in behaviour.disks.items()
        ]

    def _disk(self) -> Path:
        device = self.devices.enter_context(loop_device(self.directory, MIB)).node
        node = self.directory / uuid.uuid4().hex
        os.mknod(node, stat.S_IFBLK, device.stat().st_rdev)
        node.chmod(0o640)
        os.chown(node, 1001, 1002)
        return node


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    """A pod here, and one of the judge's."""
    with contextlib.ExitStack() as devices, judged_pods(POD) as (ours, theirs, directory):
        yield Side(ours, directory, devices), Side(theirs, directory, devices)


def _share(one: Behaviour, other: Behaviour) -> bool:
    """Whether their scripts run in one container."""
    return not (one.exec or one.alone) and one.container == other.container


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
