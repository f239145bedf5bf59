"""The script that measures how the code is laid out."""

from pathlib import Path

import pytest

from tests.house import House, main, measure, table

FILES = {
    "vmsandbox/__init__.py": '"""The product."""\n',
    "vmsandbox/cli.py": '"""The commands."""\n\nfrom vmsandbox.store import Store\n',
    "vmsandbox/daemon.py": '"""The daemon."""\n\nfrom vmsandbox import store\nfrom vmsandbox.store import Store\n',
    "vmsandbox/store/__init__.py": '"""Keeps."""\n\nfrom vmsandbox.store.disk import Store\n\n__all__ = ["Store"]\n',
    "vmsandbox/store/disk.py": """
from vmsandbox.store import _files


class Store:
    '''Keeps things on a disk.'''

    def keep(self) -> None:
        from vmsandbox.store._files import Entry

    def _write(self) -> None: ...
""",
    "vmsandbox/store/_files.py": "class Entry: ...\n",
    "agent/vmsandbox_agent/__init__.py": '"""The agent."""\n\nclass Entry: ...\n',
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return measure(tmp_path)


def test_a_use_of_a_name_that_a_face_exports_counts_for_the_module_that_defines_it(house: House) -> None:
    assert house.importers["vmsandbox.store.disk"] == {"vmsandbox.cli", "vmsandbox.daemon"}
    assert house.importers["vmsandbox.store"] == {"vmsandbox.daemon"}


def test_modules_with_exactly_one_importer_are_named(house: House) -> None:
    assert house.single() == ["vmsandbox.store", "vmsandbox.store._files"]


def test_a_chain_is_followed_by_definitions_or_through_faces(house: House) -> None:
    assert house.deepest(through_faces=False) == ["vmsandbox.cli", "vmsandbox.store.disk", "vmsandbox.store._files"]
    assert len(house.deepest(through_faces=True)) == 4


def test_an_import_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "vmsandbox").mkdir()
    (tmp_path / "vmsandbox/one.py").write_text("import vmsandbox.two\n")
    (tmp_path / "vmsandbox/two.py").write_text("import vmsandbox.one\n")
    assert measure(tmp_path).deepest(through_faces=True) == ["vmsandbox.one", "vmsandbox.two"]


def test_class_names_are_compared_across_the_product_and_its_agent(house: House) -> None:
    assert house.repeated() == {"Entry": ["vmsandbox.store._files", "vmsandbox_agent"]}


def test_private_names_need_no_docstring_and_public_ones_do(house: House) -> None:
    disk, files = house.modules["vmsandbox.store.disk"], house.modules["vmsandbox.store._files"]
    assert (disk.documented, disk.public) == (1, 3)
    assert (files.documented, files.public) == (0, 2)


def test_the_table_gives_each_figure_of_a_checkout(house: House) -> None:
    rows = dict(line.rsplit("  ", 1) for line in table(house).splitlines())
    figures = {label.strip(): value.strip() for label, value in rows.items()}
    assert figures["modules, without faces"] == "4"
    assert figures["faces (`__init__` of packages)"] == "3"
    assert figures["lines, the three largest"] == "11, 4, 3"
    assert figures["modules with one importer"] == "1 of 4 (25%)"
    assert figures["class names used more than once"] == "1"
    assert figures["largest flat package, modules"] == "2 (vmsandbox)"


def test_this_checkout_is_measured_when_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--places"])
    printed = capsys.readouterr().out
    assert "modules with one importer" in printed
    assert "The deepest import chain" in printed
