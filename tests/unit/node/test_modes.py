"""The modes of what stays on the host, as the table has them and the documentation shows them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vmsandbox.config import Config, ImagesConfig
from vmsandbox.images.store.layout import StoreLayout
from vmsandbox.node import modes
from vmsandbox.node.accelerators.attempts import AttemptCache, Circumstances
from vmsandbox.node.instance import claim, claim_daemon
from vmsandbox.node.modes import KEPT, OF_SANDBOXES, Entry, Place
from vmsandbox.state import State

DOCUMENT = Path(__file__).parents[3] / "docs/on-disk.md"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state_directory=tmp_path / "state", run_directory=tmp_path / "run")


def older(path: Path, mode: int) -> Path:
    """A file or directory (a name without a dot) as a version before the table has left it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "." in path.name:
        path.touch()
    else:
        path.mkdir(exist_ok=True)
    path.chmod(mode)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="the files of an older version are root's")
def test_what_an_older_version_left_open_is_closed(config: Config) -> None:
    state, gid = config.state_directory, 12
    expected = {
        older(state / "serve", 0o755): 0o711,
        older(state / "serve/state.db", 0o644): 0o600,
        older(state / "serve/state.db-wal", 0o644): 0o600,
        older(state / "serve/state.db-shm", 0o644): 0o600,
        older(state / "serve/sandboxes", 0o755): 0o711,
        older(state / "run/3", 0o755): 0o711,
        older(state / "run/3/state.db", 0o644): 0o600,
        older(state / "run/3/logs", 0o755): 0o700,
        older(state / "network", 0o755): 0o700,
        older(state / "images/roots/ab.squashfs", 0o444): 0o440,
        older(config.run_directory / "cids", 0o755): 0o700,
        older(config.run_directory / "serve", 0o755): 0o711,
    }
    modes.correct(config, gid)
    assert {path: oct(mode(path)) for path in expected} == {path: oct(wanted) for path, wanted in expected.items()}
    assert (state / "images/roots/ab.squashfs").stat().st_gid == gid


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory like /srv or /tmp/x, which others of the host use."""
    directory = tmp_path / "shared"
    directory.mkdir()
    os.chown(directory, -1, 12)
    directory.chmod(0o1777)
    return directory


@pytest.mark.skipif(os.geteuid() != 0, reason="the group is root's to give")
@pytest.mark.parametrize("owning", [claim, claim_daemon])
def test_a_directory_of_the_configuration_that_others_share_stays_as_it_is(owning, shared: Path) -> None:
    images = older(shared / "images", 0o2775)
    config = Config(state_directory=shared, run_directory=shared, images=ImagesConfig(directory=images))
    ours = older(shared / "run", 0o755)
    with owning(config.run_directory, config.state_directory) as instance:
        modes.correct(config, 12)
        StoreLayout.at(images, ImagesConfig()).make()
        AttemptCache(shared / "accelerators.json").remember(Circumstances("", "", "", "", ""), ())
        assert mode(instance.persistent) == 0o711
    assert (mode(shared), shared.stat().st_gid, mode(images)) == (0o1777, 12, 0o2775)
    assert (mode(ours), mode(images / "roots"), mode(images / "blobs")) == (0o711, 0o711, 0o700)


@pytest.mark.parametrize("owning", [claim, claim_daemon])
def test_a_directory_of_the_configuration_that_is_missing_is_made_passable(owning, config: Config) -> None:
    with owning(config.run_directory, config.state_directory):
        assert [oct(mode(path)) for path in (config.run_directory, config.state_directory)] == ["0o711", "0o711"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the files of an older version are root's")
def test_a_link_in_place_of_a_file_is_left_alone(config: Config, tmp_path: Path, caplog) -> None:
    victim = older(tmp_path / "victim.txt", 0o644)
    older(config.state_directory / "serve", 0o755)
    (config.state_directory / "serve/state.db").symlink_to(victim)
    modes.correct(config, 12)
    assert mode(victim) == 0o644
    assert "state.db cannot get the mode 600" in caplog.text


def test_a_host_on_which_nothing_has_run_has_nothing_to_correct(config: Config, caplog) -> None:
    modes.correct(config, 12)
    assert not config.state_directory.exists()
    assert caplog.text == ""


def test_a_database_is_private_with_what_sqlite_keeps_beside_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with State(tmp_path / "state.db"):
            assert {path.name: oct(mode(path)) for path in tmp_path.iterdir()} == {
                "state.db": "0o600", "state.db-wal": "0o600", "state.db-shm": "0o600",
            }  # fmt: skip
    finally:
        os.umask(before)


def test_commands_make_files_that_are_their_users_alone() -> None:
    script = "import os, sys\nos._exit = sys.exit\n"
    script += "from vmsandbox.__main__ import main\ntry:\n main()\nfinally:\n print(oct(os.umask(0)))"
    ran = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0o77"


def test_the_documentation_shows_the_table() -> None:
    assert table() in DOCUMENT.read_text(), f"docs/on-disk.md does not have the table:\n{table()}"


def table() -> str:
    rows = "\n".join(map(row, (*KEPT, *OF_SANDBOXES)))
    return f"| where | what | mode | owner, group | who else reaches it |\n|---|---|---|---|---|\n{rows}\n"


def row(entry: Entry) -> str:
    what = f"`{entry.names}`" if entry.names else "itself"
    return f"| {entry.place.value} | {what} | {entry.mode:04o} | {entry.owner.value} | {entry.why} |"


def test_every_place_of_the_table_is_explained() -> None:
    text = DOCUMENT.read_text()
    assert all(f"`{name}`" in text for name in ("RUN", "STATE", "IMAGES", "LIBVIRT"))
    assert {entry.place for entry in (*KEPT, *OF_SANDBOXES)} == set(Place)
