"""The code blocks of pages: what they name exists, their YAML is valid, and what needs no machines runs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.page_commands import PLACEHOLDER, complaints, misuse
from tests.support.page_run import run
from tests.support.pages import CHECKOUT, PAGES, SHELL, Block, blocks, inline_commands
from tests.support.printed import differences
from vmsandbox import config
from vmsandbox.lab import inventory
from vmsandbox.pod.api import read_manifest

ALL = [block for page in PAGES for block in blocks(page)]
COMMANDS = [block for block in ALL if block.language in SHELL]
YAML = [block for block in ALL if block.language == "yaml"]
RUN_HERE = [block for block in COMMANDS if block.marks.get("run") == "unit"]
PLACES = ("unit", "machines")


@pytest.mark.parametrize("block", ALL, ids=str)
def test_a_block_says_in_which_language_it_is(block: Block) -> None:
    assert block.language in (*SHELL, "yaml", "python", "text")


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_commands_of_a_page_run_in_a_test_or_say_why_not(block: Block) -> None:
    assert block.marks.get("run") in PLACES or len(block.marks.get("not run", "")) > len("not run"), (
        "write <!-- run: unit -->, <!-- run: machines --> or <!-- not run: REASON --> before the block"
    )


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_programs_options_and_files_that_commands_of_a_page_name_exist(block: Block) -> None:
    assert [problem for step in block.steps() for problem in complaints(step.command)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_of_a_page_exist_with_their_options(page: Path) -> None:
    for command in inline_commands(page):
        words = command.removeprefix(".venv/bin/").split()[1:]
        known = [word for word in words if not PLACEHOLDER.fullmatch(word)]
        found = [problem for problem in misuse(known) if "missing" not in problem.lower()]
        assert found == []


@pytest.mark.parametrize("block", YAML, ids=str)
def test_the_yaml_of_a_page_is_valid(block: Block) -> None:
    documents = [document for document in yaml.safe_load_all(block.text) if document is not None]
    assert documents
    if "config.yaml" in block.text.partition("\n")[0] and "kubelet" not in block.text:
        config.parse(block.text, str(block))
    elif "hosts" in documents[0]:
        inventory.parse(block.text, str(block), CHECKOUT)
    elif any(document.get("kind") == "Pod" for document in documents):
        read_manifest([(str(block), block.text)])


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "python"], ids=str)
def test_the_python_of_a_page_compiles(block: Block) -> None:
    indented = "".join(f"    {line}\n" for line in block.text.splitlines())
    compile(f"async def page():\n{indented}", str(block), "exec")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Path]:
    """A directory that looks like a checkout, in which commands write only what is theirs."""
    for entry in CHECKOUT.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    settings = {"state_directory": str(tmp_path / "state"), "run_directory": str(tmp_path / "run")}
    (tmp_path / "own-config.yaml").write_text(yaml.safe_dump(settings))
    yield tmp_path


@pytest.mark.parametrize("block", RUN_HERE, ids=str)
def test_commands_of_a_page_that_need_no_machine_work(block: Block, sandbox: Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(sandbox),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VMSANDBOX_CONFIG": str(sandbox / "own-config.yaml"),
    }
    for ran in run(block, sandbox, environment, 60):
        assert ran.status == 0, ran.printed
        assert differences(ran.step.output or (), ran.printed) == [], ran.printed


def test_the_commands_of_a_page_that_are_wrong_are_found() -> None:
    assert list(complaints("vmsandbox logs --no-such-option NAME"))
    assert list(complaints("vmsandbox no-such-command"))
    assert list(complaints("vmsandbox logs"))
    assert list(complaints("vmsandbox pods one too many"))
    assert list(complaints("make no-such-target"))
    assert list(complaints("python -m tests.no_such_module"))
    assert list(complaints("install -m 644 packaging/no/such/file /etc"))
    assert list(complaints("no-such-program"))
    assert list(complaints("true; no-such-program | cat")) == ["there is no program no-such-program"]
    assert (
        list(complaints("A=b sudo vmsandbox --log-level debug exec -it NAME sh -c 'ls' >/dev/null  # as one says"))
        == []
    )


def test_printed_output_is_compared_by_its_form() -> None:
    shown = ("CONTAINER ID   NAME  AGE", "0123456789abc  web   3s")
    assert differences(shown, "CONTAINER ID  NAME  AGE\nfedcba9876543  web  2m\n") == []
    assert differences(shown, "CONTAINER ID  NAME  AGE\nfedcba9876543  db  2m\n") == ["ID web TIME"]
    assert differences(("10.105.0.2,fd76:6d73:616e:64::2",), "10.198.173.2,fd76:6d73:636f:ad::2") == []
    assert differences(("GET / 200 ...",), "GET / 200 27") == []


def test_lines_that_a_reader_types_reach_the_command_at_its_prompt(tmp_path: Path) -> None:
    text = "$ PS1=$'/ # \\e[6n' sh\n/ # echo $((40 + 2))\n42\n/ # exit 3\n"
    (ran,) = run(Block(tmp_path / "page.md", 1, "console", text, {}), tmp_path, os.environ, 30)
    assert ran.status == 3
    assert differences(ran.step.output or (), ran.printed) == []
    assert differences(("/ # echo $((40 + 2))", "43"), ran.printed) == ["43"]


def test_commands_of_one_block_share_a_shell_and_each_has_its_status(tmp_path: Path) -> None:
    text = "$ answer=42\n$ echo $answer >&2\n42\n$ sleep 60 &\n$ false\n"
    ran = list(run(Block(tmp_path / "page.md", 1, "console", text, {}), tmp_path, os.environ, 30))
    assert [(one.status, one.printed.strip()) for one in ran] == [(0, ""), (0, "42"), (0, ""), (1, "")]
