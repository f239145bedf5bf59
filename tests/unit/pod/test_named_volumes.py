"""Named volumes: whole or not there at any moment, and kept while a pod uses them."""

import os
from pathlib import Path

import pytest

from vmsandbox.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.pod.named_volumes import NamedVolumes


def nothing(data: Path) -> None:
    pass


@pytest.fixture
def volumes(tmp_path: Path) -> NamedVolumes:
    return NamedVolumes(tmp_path / "volumes")


def test_a_volume_is_made_when_it_is_used_first_and_keeps_its_content(volumes: NamedVolumes) -> None:
    prepared: list[Path] = []
    with volumes.used("data", prepared.append) as volume:
        (volume.data / "file").write_text("kept")
    with volumes.used("data", prepared.append) as again:
        assert (again.data / "file").read_text() == "kept"
    assert len(prepared) == 1
    assert volumes.data("data").stat().st_mode & 0o777 == 0o777
    assert volumes.data("data").parent.stat().st_mode & 0o777 == 0o700


def test_the_list_says_which_volumes_are_in_use(volumes: NamedVolumes) -> None:
    volumes.create("b", {"team": "web"})
    with volumes.used("a", nothing):
        assert [(one.name, one.in_use, one.labels) for one in volumes.list()] == [
            ("a", True, {}),
            ("b", False, {"team": "web"}),
        ]
    assert not volumes.find("a").in_use


async def test_a_volume_in_use_is_not_removed(volumes: NamedVolumes) -> None:
    with volumes.used("data", nothing), pytest.raises(FailedPrecondition, match="in use"):
        await volumes.remove("data")
    await volumes.remove("data")
    assert volumes.list() == ()
    with pytest.raises(NotFound):
        await volumes.remove("data")


async def test_removal_follows_no_link_out_of_the_volume(volumes: NamedVolumes, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    with volumes.used("data", nothing) as volume:
        (volume.data / "link").symlink_to(tmp_path / "precious")
    await volumes.remove("data")
    assert (tmp_path / "precious").is_dir()


def test_two_may_use_a_volume_unless_one_of_them_wants_it_alone(volumes: NamedVolumes) -> None:
    def use(*, alone: bool) -> None:
        with volumes.used("data", nothing, alone=alone):
            pass

    with volumes.used("data", nothing):
        use(alone=False)
        with pytest.raises(FailedPrecondition):
            use(alone=True)
    with volumes.used("data", nothing, alone=True), pytest.raises(FailedPrecondition):
        use(alone=False)


def test_what_cannot_be_a_volume_is_refused(volumes: NamedVolumes) -> None:
    volumes.create("data")
    with pytest.raises(AlreadyExists):
        volumes.create("data")
    for name in ("../x", ".new-1", "A", "a/b", ""):
        with pytest.raises(InvalidArgument):
            volumes.create(name)
        with pytest.raises(NotFound):
            volumes.find(name)


async def test_what_a_kill_has_left_half_made_or_removed_is_cleared_away(volumes: NamedVolumes) -> None:
    class Killed(BaseException):
        pass

    def killed(data: Path) -> None:
        raise Killed

    with pytest.raises(Killed), volumes.used("data", killed):
        pass
    assert volumes.list() == ()
    volumes.create("data")
    directory = volumes.data("data").parents[1]
    (directory / "data").rename(directory / ".gone-1")
    await volumes.sweep()
    assert os.listdir(directory) == ["lock"]
