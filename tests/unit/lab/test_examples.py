"""The machines that others make for a laboratory: one script in all of them, and the inventory that is shown."""

import subprocess
from dataclasses import fields
from pathlib import Path

import yaml

from vmsandbox.cli.table import TABLE
from vmsandbox.lab import inventory, load

CHECKOUT = Path(__file__).parents[3]
EXAMPLES = CHECKOUT / "examples/lab"
SCRIPT = EXAMPLES / "provision.sh"


def test_lima_and_cloud_init_run_the_script_and_vagrant_names_it() -> None:
    lima = yaml.safe_load((EXAMPLES / "lima.yaml").read_text())
    cloud = yaml.safe_load((EXAMPLES / "cloud-init.yaml").read_text())
    assert [each["script"] for each in lima["provision"]] == [SCRIPT.read_text()]
    (file,) = cloud["write_files"]
    assert file["content"] == SCRIPT.read_text()
    assert cloud["runcmd"] == [[file["path"]]]
    assert 'path: "examples/lab/provision.sh"' in (CHECKOUT / "Vagrantfile").read_text()


def test_the_script_is_one_that_a_shell_can_read() -> None:
    for shell in ("dash", "bash"):
        subprocess.run([shell, "-n", str(SCRIPT)], check=True)
    assert SCRIPT.stat().st_mode & 0o111


def test_the_inventory_that_is_shown_has_every_setting() -> None:
    shown = yaml.safe_load((EXAMPLES / "lab.yaml").read_text())
    assert set(shown) == {each.name for each in fields(inventory._Document)}
    assert set(shown["defaults"]) == {each.name for each in fields(inventory._Defaults)}
    defaults = {each.name: each.default for each in fields(inventory._Defaults)}
    assert {**shown["defaults"], "setup": tuple(shown["defaults"]["setup"])} == defaults
    assert [host.name for host in load(EXAMPLES / "lab.yaml").hosts] == ["alpha", "beta", "gamma"]


def test_the_page_names_every_command_and_every_setting() -> None:
    page = (CHECKOUT / "docs/lab.md").read_text()
    names = [name for name in TABLE if name.startswith("lab ")]
    assert len(names) == 9
    assert [name for name in names if f"vmsandbox {name}" not in page] == []
