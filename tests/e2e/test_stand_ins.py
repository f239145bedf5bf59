"""The stand-in images are what the conformance tests take them for."""

import io
import json
import os
import tarfile
import urllib.request
from collections.abc import Iterator

import pytest

from tests.standins import images
from tests.standins.registry import running_stand_ins
from tests.support.registry import Registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="extracts packages: run as root")

ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_stand_ins(tmp_path_factory.mktemp("stand-ins")) as running:
        yield running


def manifest_of(registry: Registry, name: str) -> bytes:
    host, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    url = f"http://{registry.address}/v2/{host}/{repository}/manifests/{tag or 'latest'}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=ACCEPT)) as response:
        return bytes(response.read())


def files_of(registry: Registry, name: str) -> dict[str, tarfile.TarInfo]:
    files: dict[str, tarfile.TarInfo] = {}
    for layer in json.loads(manifest_of(registry, name))["layers"]:
        content = registry.blob_file(layer["digest"]).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            files.update({member.name: member for member in tar})
    return files


def config_of(registry: Registry, name: str) -> dict[str, object]:
    digest = json.loads(manifest_of(registry, name))["config"]["digest"]
    config: dict[str, object] = json.loads(registry.blob_file(digest).read_bytes())["config"]
    return config


@pytest.mark.parametrize("stand_in", images.STAND_INS, ids=lambda stand_in: stand_in.names[0])
def test_an_image_is_served_under_all_its_names(registry: Registry, stand_in: images.StandIn) -> None:
    assert len({manifest_of(registry, name) for name in stand_in.names}) == 1


def test_no_two_images_are_the_same(registry: Registry) -> None:
    assert len({manifest_of(registry, each.names[0]) for each in images.STAND_INS}) == len(images.STAND_INS)


def test_the_commands_of_busybox_are_hard_links_and_its_libraries_are_there(registry: Registry) -> None:
    files = files_of(registry, images.BUSYBOX)
    commands = {name for name, member in files.items() if member.islnk() and name.startswith("usr/bin/")}
    assert {"usr/bin/ls", "usr/bin/sh", "usr/bin/top", "usr/bin/brctl", "usr/bin/netstat"} <= commands
    assert {"usr/bin/pgrep", "usr/bin/ipcs"} <= files.keys()
    assert any("libc.so" in name for name in files)


def test_the_program_without_new_privileges_is_set_user_id_root(registry: Registry) -> None:
    program = files_of(registry, images.NONEWPRIVS)["nnp"]
    assert (program.mode, program.uid) == (0o4755, 0)


@pytest.mark.parametrize(("kind", "user"), images.USERS.items())
def test_an_image_names_its_user(registry: Registry, kind: str, user: str) -> None:
    assert config_of(registry, images.user_image(kind))["User"] == user
