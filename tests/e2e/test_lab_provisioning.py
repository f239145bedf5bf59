"""The machines that others make for a laboratory, as far as a fresh Debian shows them: their script and their files."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.root import Root, fresh_root

CHECKOUT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a fresh root needs root"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def debian() -> Iterator[Root]:
    """Debian 13, in which nothing was installed."""
    with fresh_root("trixie") as root:
        for name in ("examples/lab/provision.sh", "examples/lab/cloud-init.yaml", "Vagrantfile"):
            shutil.copy(CHECKOUT / name, root.path / "root")
        yield root


def test_the_script_makes_a_fresh_debian_a_host_that_the_laboratory_can_install_on(debian: Root) -> None:
    for _ in range(2):
        ran = debian.run("./provision.sh", online=True)
        assert ran.stdout.splitlines()[-1] == "ready for vmsandbox lab up"
    debian.run("mkdir", "-p", "/run/sshd")
    debian.run("/usr/sbin/sshd", "-t")  # has its host keys, and would serve
    for program in ("git", "make", "python3", "sudo", "tar", "flock", "setsid"):
        debian.run(program, "--version")


def test_cloud_init_and_ruby_can_read_the_files_for_them(debian: Root) -> None:
    install = ["apt-get", "install", "-y", "--no-install-recommends", "cloud-init", "ruby"]
    debian.run("env", "DEBIAN_FRONTEND=noninteractive", *install, online=True)
    debian.run("cloud-init", "schema", "--config-file", "cloud-init.yaml")
    assert debian.run("ruby", "-wc", "Vagrantfile").stdout == "Syntax OK\n"
