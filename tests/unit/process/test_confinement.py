"""The command lines that start confined programs, word for word."""

import shutil
from pathlib import Path

import pytest

from vmsandbox import process
from vmsandbox.errors import FailedPrecondition
from vmsandbox.process import TOOLS, Account, Confinement, Limits
from vmsandbox.process.confinement import unprotected

GOLDEN = {
    "the least": (
        Confinement(),
        "choom --adjust 500 -- unshare --net --ipc --uts -- prlimit --core=0:0 --nofile=1024:1024 -- setpriv "
        "--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all -- tool --option",
    ),
    "a helper that outlives us": (
        Confinement(Account(990, 991), limits=Limits(memory=1 << 20, file_size=512, open_files=64, processes=7)),
        "choom --adjust 500 -- unshare --net --ipc --uts -- "
        "prlimit --core=0:0 --data=1048576:1048576 --fsize=512:512 --nofile=64:64 --nproc=7:7 -- setpriv "
        "--reuid=990 --regid=991 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all "
        "-- tool --option",
    ),
    "root that changes its user by itself, and ends with us": (
        Confinement(
            capabilities=("setuid", "setgid"), namespaces=("net", "pid"), oom_score=900, dies_with_parent=True,
            limits=Limits(open_files=None),
        ),
        "choom --adjust 900 -- setpriv --pdeathsig KILL -- unshare --net --pid --fork --kill-child=KILL "
        "--propagation=slave --mount-proc -- "
        "prlimit --core=0:0 -- setpriv --clear-groups --no-new-privs --bounding-set=-all,+setuid,+setgid "
        "--inh-caps=-all --ambient-caps=-all --pdeathsig KILL -- tool --option",
    ),
    "the host's network": (
        Confinement(Account(1, 2), namespaces=(), dies_with_parent=True, limits=Limits(open_files=None)),
        "choom --adjust 500 -- prlimit --core=0:0 -- setpriv --reuid=1 --regid=2 --clear-groups --no-new-privs "
        "--bounding-set=-all --inh-caps=-all --ambient-caps=-all --pdeathsig KILL -- tool --option",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_a_confinement_is_this_command_line(name: str) -> None:
    confinement, expected = GOLDEN[name]
    assert confinement.wrap(["tool", "--option"]) == expected.split(" ")


PROFILES = "vmsandbox-vsock (complain)\n/usr/bin/man (enforce)\nvmsandbox-skopeo//child (enforce)\n"


@pytest.mark.parametrize(
    ("profile", "given"), [("vmsandbox-vsock", True), ("vmsandbox-skopeo", False), ("vmsandbox", False)]
)
def test_a_helper_gets_its_apparmor_profile_where_the_kernel_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, given: bool
) -> None:
    confinement = Confinement(profile=profile)
    monkeypatch.setattr("vmsandbox.process.confinement._PROFILES", tmp_path / "profiles")
    plain = Confinement().wrap(["tool"])
    assert confinement.wrap(["tool"]) == plain
    (tmp_path / "profiles").write_text(PROFILES)
    options = [f"--apparmor-profile={profile}"] if given else []
    assert confinement.wrap(["tool"]) == [*plain[:-2], *options, *plain[-2:]]


def test_a_command_without_a_confinement_does_not_inherit_a_protection_that_its_parent_has() -> None:
    assert unprotected(["tool", "--option"], -999) == ["choom", "--adjust", "0", "--", "tool", "--option"]
    for as_other_processes in (0, 500):
        assert unprotected(["tool", "--option"], as_other_processes) == ["tool", "--option"]


def test_an_account_is_a_user_with_its_group() -> None:
    assert Account.named("root") == Account(0, 0)


def test_an_account_that_the_host_lacks_says_what_makes_it() -> None:
    with pytest.raises(FailedPrecondition, match="the user no-such-user does not exist") as caught:
        Account.named("no-such-user")
    assert "make setup" in caught.value.hint


async def test_a_confined_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(FailedPrecondition, match="the program no-such-program is not installed"):
        await process.run(["no-such-program"], confinement=Confinement())


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_confining_program_that_is_not_installed_is_named(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else which(name))
    with pytest.raises(FailedPrecondition, match=f"the program {tool} is not installed") as caught:
        await process.run(["true"], confinement=Confinement())
    assert "vmsandbox check" in caught.value.hint
