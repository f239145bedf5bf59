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


_VALIDATE = """
import json, sys, jsonschema, yaml
with open("cloud-init.yaml") as file, open(sys.argv[1]) as schema:
    jsonschema.validate(yaml.safe_load(file), json.load(schema))
"""


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


def test_cloud_inits_schema_and_ruby_accept_the_files_for_them(debian: Root) -> None:
    """The schema is taken out of cloud-init's package, and mruby reads the Ruby: a fifth of the packages of both."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
    extract = "apt-get download cloud-init; dpkg-deb -x cloud-init_*.deb cloud-init"
    debian.run("sh", "-c", f"{install} mruby python3-jsonschema python3-yaml; {extract}", online=True)
    [schema] = (debian.path / "root/cloud-init").glob("**/schema-cloud-config-v1.json")
    debian.run("python3", "-c", _VALIDATE, f"/{schema.relative_to(debian.path)}")
    assert (debian.path / "root/cloud-init.yaml").read_text().startswith("#cloud-config\n")
    assert debian.run("mruby", "-c", "Vagrantfile").stdout == "Syntax OK\n"
