"""The AppArmor profiles of the helpers, against what the helpers really do: no machine of the tests enforces them."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apparmor import profiles, trace, uses
from tests.support.images import archive_of, build_image, write_layout
from tests.support.passable import passable_directory
from tests.support.registry import running_registry
from tests.support.vsock import vsock_daemon
from vmsandbox.config import ImagesConfig
from vmsandbox.images import ImageStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a program is given another user by root")

CHECKOUT = Path(__file__).parents[2]
FIRST = {"/usr/bin/skopeo", "/usr/bin/env", str(Path(sys.executable).resolve())}
"""The programs that the helpers begin with: setpriv(1) executes them, not yet under the profile."""


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that helpers' users may enter, in which what helpers do is traced."""
    assert shutil.which("strace"), "strace is not installed; the setup installs it"
    with passable_directory() as path:
        trace(monkeypatch, path / "trace")
        yield path


def refused(directory: Path, profile: str, **variables: Path) -> set[tuple[str, str]]:
    """Return the actions of programs that a profile does not allow."""
    allowed = profiles(**variables)[profile]
    done = uses(directory / "trace", profile)
    assert len(done) > 5, "the trace has almost nothing"
    return {(path, letter) for path, letter in done if path not in FIRST and not allowed.allows(path, letter)}


async def test_pulling_and_loading_do_what_the_profiles_of_skopeo_and_the_builder_allow(
    directory: Path, tmp_path: Path
) -> None:
    with running_registry(tmp_path) as registry:
        configuration = directory / "registries.conf"
        configuration.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
        store = await ImageStore.open(directory / "store/images", ImagesConfig(registries_conf=configuration))
        await store.pull(registry.push("traced", build_image([{"a": b"content"}])))
    layout = write_layout(directory / "layout", {"loaded": build_image([{"b": b"more"}])})
    await store.load(archive_of(layout, directory / "archive.tar"))
    places = {"VMSANDBOX_STATE": directory / "store", "VMSANDBOX_PROGRAM": CHECKOUT}
    assert refused(directory, "vmsandbox-skopeo", **places) == set()
    assert refused(directory, "vmsandbox-builder", **places) == set()
    assert ("/usr/bin/tar2sqfs", "x") in uses(directory / "trace", "vmsandbox-builder")


@pytest.mark.parametrize("profile", ["vmsandbox-vsock", "vmsandbox-skopeo", "vmsandbox-builder"])
@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/root/.ssh/id", "/var/lib/vmsandbox/state.db", "/run/libvirt/libvirt-sock", "/var/lib/kubelet/x"],
)
def test_a_profile_allows_nothing_of_the_rest_of_the_host(profile: str, path: str) -> None:
    allowed = profiles()[profile]
    assert not {letter for letter in "rwamklx" if allowed.allows(path, letter)}
    assert not allowed.allows("/usr/bin/bash", "x")


def test_no_profile_has_a_capability_that_the_helper_does_not_keep() -> None:
    found = {name: each.capabilities for name, each in profiles().items()}
    builder = {"setuid", "setgid", "dac_read_search"}
    assert found == {"vmsandbox-vsock": set(), "vmsandbox-skopeo": set(), "vmsandbox-builder": builder}


async def test_a_vsock_daemon_does_what_its_profile_allows(directory: Path) -> None:
    async with vsock_daemon(77) as (_, place):
        where = {"VMSANDBOX_RUN": place}
    assert refused(directory, "vmsandbox-vsock", **where) == set()
