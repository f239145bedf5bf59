"""The commands of pages that need machines: they work as shown, and print what is shown, page after page."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.images import BUSYBOX, NGINX
from tests.support.conformance import Serving
from tests.support.page_run import run
from tests.support.pages import PAGES, Block, blocks
from tests.support.printed import differences
from tests.support.registry import Registry

ALL = [block for page in PAGES for block in blocks(page)]
FILES = [block for block in ALL if "file" in block.marks]
COMMANDS = [block for block in ALL if block.marks.get("run") == "machines"]
IMAGES = {BUSYBOX: "docker.io/library/busybox:latest", NGINX: "docker.io/library/nginx:latest"}
"""The stand-ins that pages have under the names that their readers know."""


@pytest.fixture(scope="module")
def environment(daemon: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a reader of pages, whose current directory has the files that pages show."""
    directory = tmp_path_factory.mktemp("pages")
    for stand_in, name in IMAGES.items():
        _copy(daemon.registry, stand_in, name)
    for block in FILES:
        (directory / block.marks["file"]).write_text(block.text)
    yield {
        **os.environ,
        "HOME": str(directory),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VMSANDBOX_CONFIG": str(daemon.directory / "config.yaml"),
    }


def _copy(registry: Registry, source: str, target: str) -> None:
    copy = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]
    names = [f"docker://{registry.address}/{name}" for name in (source, target)]
    subprocess.run([*copy, *names], check=True, capture_output=True)


def _here(block: Block, environment: dict[str, str]) -> Block:
    """Return the block with the directories of this daemon in place of those of a host."""
    own = Path(environment["VMSANDBOX_CONFIG"]).parent
    text = block.text.replace("/var/lib/vmsandbox", f"{own}/state").replace("/run/vmsandbox", f"{own}/run")
    return dataclasses.replace(block, text=text)


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_commands_of_a_page_work_and_print_what_it_shows(block: Block, environment: dict[str, str]) -> None:
    for ran in run(_here(block, environment), Path(environment["HOME"]), environment, 240):
        assert ran.status == 0, f"{ran.step.command}\n{ran.printed}"
        assert differences(ran.step.output or (), ran.printed) == [], f"{ran.step.command}\n{ran.printed}"
