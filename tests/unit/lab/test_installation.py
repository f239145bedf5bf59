"""Installing, upgrading and removing, on hosts that are directories of this one."""

import subprocess
import threading
from pathlib import Path

import pytest

from tests.fakes.lab import REACH, FakeHosts, host
from tests.support.lab_checkout import SETUP, make_checkout
from tests.support.waiting import eventually
from vmsandbox.errors import FailedPrecondition, PermissionDenied, Unavailable
from vmsandbox.lab import Checkout, Fleet, Outcome, install, pack, uninstall


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return pack(make_checkout(tmp_path / "checkout"))


def up(fakes: FakeHosts, checkout: Checkout, *directories: Path, setup: tuple[str, ...] = SETUP) -> list[Outcome[str]]:
    hosts = [host(directory.name, directory / "lab", setup) for directory in directories]
    return list(Fleet(REACH, fakes.dial, fakes.say).on(hosts, lambda context: install(context, checkout)))


def down(directory: Path) -> Outcome[str]:
    fleet = Fleet(REACH, FakeHosts().dial, lambda *_: None)
    return fleet.on([host("alpha", directory)], lambda context: uninstall(context, caches=False))[0]


def test_up_installs_a_version_and_a_second_one_sets_it_up_again(tmp_path: Path, checkout: Checkout) -> None:
    directory = tmp_path / "alpha"
    (first,) = up(FakeHosts(), checkout, directory)
    assert first.value == f"{checkout.version} installed", first.error
    installed = directory / "lab/current"
    assert installed.resolve() == directory / "lab/versions" / checkout.version
    assert (installed / ".venv/bin/vmsandbox").exists() and not (installed / "untracked").exists()
    (second,) = up(FakeHosts(), checkout, directory)
    assert second.value == f"{checkout.version} was installed; set up again", second.error


def test_an_upgrade_keeps_the_version_before_and_no_other(tmp_path: Path, checkout: Checkout) -> None:
    directory, versions = tmp_path / "alpha", [checkout.version]
    up(FakeHosts(), checkout, directory)
    for number in (1, 2):
        with (tmp_path / "checkout/setup.sh").open("a") as script:
            script.write(f"# {number}\n")
        changed = pack(tmp_path / "checkout")
        (outcome,) = up(FakeHosts(), changed, directory)
        assert outcome.value == f"{changed.version} installed in place of {versions[-1]}"
        versions.append(changed.version)
    assert sorted(path.name for path in (directory / "lab/versions").iterdir()) == sorted(versions[1:])


def test_a_host_that_fails_has_an_outcome_of_its_own_and_the_others_go_on(tmp_path: Path, checkout: Checkout) -> None:
    fakes = FakeHosts(beta=PermissionDenied("beta does not accept the key"))
    outcomes = up(fakes, checkout, *(tmp_path / name for name in ("alpha", "beta", "gamma")))
    assert [str(outcome.error or "") for outcome in outcomes] == ["", "beta does not accept the key", ""]
    assert {line.split(":")[0] for line in fakes.said} == {"alpha", "gamma"}


def test_hosts_are_worked_on_at_the_same_time(tmp_path: Path, checkout: Checkout) -> None:
    together = threading.Barrier(3, timeout=20)
    fakes = FakeHosts()
    fakes.on_dial = lambda name: (together.wait(), None)[1]
    outcomes = up(fakes, checkout, *(tmp_path / name for name in ("alpha", "beta", "gamma")))
    assert [outcome.error for outcome in outcomes] == [None] * 3


def test_a_second_up_finishes_what_a_lost_host_has_begun(tmp_path: Path, checkout: Checkout) -> None:
    directory, fakes, outcomes = tmp_path / "alpha", FakeHosts(), []
    (directory / "lab").mkdir(parents=True)
    (directory / "lab/vmsandbox-lab").touch()
    (directory / "lab/hold").touch()
    working = threading.Thread(target=lambda: outcomes.extend(up(fakes, checkout, directory)))
    working.start()
    eventually((directory / "lab/held").exists)
    (busy,) = up(FakeHosts(), checkout, directory)
    assert isinstance(busy.error, FailedPrecondition) and "somebody else" in str(busy.error)
    fakes.connections["alpha"].vanish()
    working.join(20)
    assert isinstance(outcomes[0].error, Unavailable)
    assert not (directory / "lab/current").exists()
    (directory / "lab/hold").unlink()
    eventually(lambda: up(FakeHosts(), checkout, directory)[0].error is None)
    assert (directory / "lab/current/.lab-ready").exists()


def test_a_setup_that_fails_says_its_last_line_and_leaves_the_version_before(
    tmp_path: Path, checkout: Checkout
) -> None:
    directory = tmp_path / "alpha"
    up(FakeHosts(), checkout, directory)
    script = "echo no room >&2; exit 9"
    (tmp_path / "checkout/new").write_text("x")
    subprocess.run(["git", "-C", str(tmp_path / "checkout"), "add", "new"], check=True)
    (failed,) = up(FakeHosts(), pack(tmp_path / "checkout"), directory, setup=("sh", "-c", script))
    assert str(failed.error) == f"sh -c {script} failed with status 9: no room"
    assert (directory / "lab/current").resolve().name == checkout.version


def test_a_broken_archive_is_removed(tmp_path: Path, checkout: Checkout) -> None:
    (failed,) = up(FakeHosts(), Checkout("v", checkout.archive[:-100]), tmp_path / "alpha")
    assert str(failed.error).startswith("the checkout could not be unpacked: ")
    assert list((tmp_path / "alpha/lab/versions").iterdir()) == []


def test_a_directory_of_somebody_else_is_neither_used_nor_removed(tmp_path: Path, checkout: Checkout) -> None:
    (tmp_path / "alpha/lab").mkdir(parents=True)
    (tmp_path / "alpha/lab/precious").touch()
    (failed,) = up(FakeHosts(), checkout, tmp_path / "alpha")
    assert "in use for something else" in str(failed.error)
    removed = down(tmp_path / "alpha/lab")
    assert "it stays" in str(removed.error)
    assert (tmp_path / "alpha/lab/precious").exists()


def test_down_ends_pods_and_processes_and_removes_all_of_it(tmp_path: Path, checkout: Checkout) -> None:
    directory = tmp_path / "alpha/lab"
    up(FakeHosts(), checkout, directory.parent)
    installed = [str(directory / "current/.venv/bin" / name) for name in ("python3", "vmsandbox")]
    serving = subprocess.Popen([*installed, "serve"])
    running = subprocess.Popen([*installed, "run", "-"], stdin=subprocess.PIPE)
    calls = directory / "calls"
    eventually(lambda: calls.exists() and {"serve", "run"} <= set(calls.read_text().split("'")))
    outcome = down(directory)
    assert outcome.error is None and outcome.value == "removed", outcome.error
    assert (serving.wait(10), running.wait(10)) == (-15, -15)
    running.stdin.close()
    assert not directory.exists()
    assert down(directory).value == "nothing was installed"


def test_what_is_sent_is_what_git_tracks_as_it_is_now(tmp_path: Path) -> None:
    one, two = make_checkout(tmp_path / "one"), make_checkout(tmp_path / "two")
    (one / "setup.sh").touch()
    assert pack(one) == pack(two)
    (one / "setup.sh").write_text("# changed, not committed")
    assert pack(one).version != pack(two).version
    (one / "setup.sh").unlink()
    assert pack(one).archive
    with pytest.raises(FailedPrecondition, match="not a git checkout"):
        pack(tmp_path)
