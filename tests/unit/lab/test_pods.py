"""Finding the host of a pod by what each host says of its name."""

from pathlib import Path

import pytest

from tests.fakes.lab import REACH, FakeHosts, host
from vmsandbox.errors import InvalidArgument, NotFound
from vmsandbox.lab import Fleet, LabHost, host_of_pod, pods
from vmsandbox.lab.installation import program_of

KNOWS = "exit 0"
KNOWS_NOT = "echo 'error: there is no pod, container or image web' >&2; echo 'try: look' >&2; exit 1"
NO_DAEMON = "echo 'error: no daemon serves /run/vmsandbox/vmsandbox.sock' >&2; echo 'try: start it' >&2; exit 1"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "require", lambda context: None)


def machine(directory: Path, name: str, script: str) -> LabHost:
    """A host whose vmsandbox is a script."""
    made = host(name, directory / name)
    program = Path(program_of(made))
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return made


def find(*hosts: LabHost) -> LabHost:
    fakes = FakeHosts()
    return host_of_pod(Fleet(REACH, fakes.dial, fakes.say), hosts, "web")


def test_the_host_that_knows_the_name_is_found(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one", KNOWS_NOT), machine(tmp_path, "two", KNOWS)
    assert find(one, two) is two
    with pytest.raises(InvalidArgument, match="one, two"):
        find(machine(tmp_path / "b", "one", KNOWS), two)


def test_a_host_that_cannot_say_is_told_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find(
            machine(tmp_path, "one", KNOWS_NOT),
            machine(tmp_path, "two", NO_DAEMON),
            machine(tmp_path, "three", "exit 9"),
        )
    assert caught.value.evidence["hosts"].splitlines() == [
        "one: no pod or container has this name",
        "two: no daemon serves /run/vmsandbox/vmsandbox.sock",
        "three: `vmsandbox inspect` failed without a word",
    ]
