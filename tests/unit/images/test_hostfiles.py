"""The administrator's files that skopeo gets: which, from where, and no key that a pull does not need."""

import os
from pathlib import Path

import pytest

from vmsandbox.config import ImagesConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.images.skopeo.hostfiles import HostFiles
from vmsandbox.images.skopeo.workspace import Workspace
from vmsandbox.process import Account


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    write(tmp_path / "etc/containers/registries.conf", '[[registry.mirror]]\nlocation = "mirror.example:5000/all"\n')
    return tmp_path / "etc"


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def copied(etc: Path, tmp_path: Path, registry: str, settings: ImagesConfig | None = None) -> dict[str, str]:
    """Return the files that skopeo gets for a pull."""
    work = Workspace(tmp_path / "work", Account(os.geteuid(), os.getegid()))
    work.make()
    HostFiles.of(settings or ImagesConfig(), etc).copy(work, registry)
    files = [path for path in work.directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(work.directory)): path.read_text() for path in files}


def test_it_gets_the_hosts_files(etc: Path, tmp_path: Path) -> None:
    write(etc / "containers/policy.json", "{}")
    found = copied(etc, tmp_path, "a.example")
    assert found["policy.json"] == "{}" and "mirror.example" in found["registries.conf"]


def test_files_of_the_settings_come_before_the_hosts(etc: Path, tmp_path: Path) -> None:
    settings = ImagesConfig(registries_conf=write(tmp_path / "mine", "mine"), policy=write(tmp_path / "policy", "too"))
    assert copied(etc, tmp_path, "a.example", settings) == {"registries.conf": "mine", "policy.json": "too"}


def test_a_host_without_any_gives_none(tmp_path: Path) -> None:
    assert copied(tmp_path / "none", tmp_path, "a.example") == {}


def test_it_gets_keys_of_the_registry_and_of_configured_mirrors_and_no_others(etc: Path, tmp_path: Path) -> None:
    for name in ("a.example", "mirror.example:5000", "drop-in.example", "other.example"):
        write(etc / "containers/certs.d" / name / "client.key", name)
    write(etc / "containers/registries.conf.d/10.conf", 'location = "drop-in.example"')
    found = copied(etc, tmp_path, "a.example")
    keys = {
        name.split("/")[4]: text for name, text in found.items() if name.startswith("home/.config/containers/certs.d")
    }
    assert keys == {name: name for name in ("a.example", "mirror.example:5000", "drop-in.example")}


def test_of_two_places_of_certificates_the_first_counts_and_other_files_are_left(etc: Path, tmp_path: Path) -> None:
    write(etc / "containers/certs.d/a.example/ca.crt", "first")
    write(etc / "containers/certs.d/a.example/README", "not ours")
    write(etc / "docker/certs.d/a.example/ca.crt", "second")
    write(etc / "docker/certs.d/a.example/client.key", "second")
    write(etc / "docker/certs.d/mirror.example:5000/ca.crt", "docker's")
    found = copied(etc, tmp_path, "a.example")
    certificates = {name: text for name, text in found.items() if "certs.d" in name}
    assert certificates == {
        "home/.config/containers/certs.d/a.example/ca.crt": "first",
        "home/.config/containers/certs.d/mirror.example:5000/ca.crt": "docker's",
    }


@pytest.mark.parametrize("name", ["registries.conf", "certs.d/a.example/client.key"])
def test_a_fifo_among_them_is_an_error_that_names_it(etc: Path, tmp_path: Path, name: str) -> None:
    path = write(etc / "containers" / name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FailedPrecondition, match=f"{name}.*FIFO"):
        copied(etc, tmp_path, "a.example")


def test_skopeo_cannot_write_its_copies(etc: Path, tmp_path: Path) -> None:
    copied(etc, tmp_path, "a.example")
    assert (tmp_path / "work/registries.conf").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "work/home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "work/blobs").stat().st_mode & 0o777 == 0o711
