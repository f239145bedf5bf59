"""The pages lead somewhere: the files, modules and sections that they name exist."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted((*CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("*.md"), *CHECKOUT.glob("guest-image/*.md")))
TREES = ("agent", "docs", "examples", "guest-image", "packaging", "setup", "tests", "vmsandbox")
MODULE = re.compile(r"(?:[\w-]+/)*\w+\.py")
DOTTED = re.compile(r"(?:vmsandbox|tests)(?:\.[a-z_]+)+")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")
NOT_FILES = {"vmsandbox/runtime", "vmsandbox.secret"}
"""A label of nodes, a virtio port."""


def _paths() -> set[str]:
    """Every file and directory of the checkout, relative to it."""
    below = (path for tree in TREES for path in (CHECKOUT / tree).rglob("*"))
    return {
        f"/{path.relative_to(CHECKOUT)}" for path in (*below, *CHECKOUT.glob("*")) if "__pycache__" not in path.parts
    }


def _code(page: Path) -> list[str]:
    return re.findall(r"`(?:python -m )?([^`\n]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S))


def _names_ours(code: str) -> bool:
    """Whether the text in backticks is a path of the checkout, or a module of ours."""
    if {*code} & {*" *{"} or PLACEHOLDER.search(code) or code in NOT_FILES:
        return False
    return code.startswith(tuple(f"{tree}/" for tree in TREES)) or bool(
        MODULE.fullmatch(code) or DOTTED.fullmatch(code)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    paths = _paths()
    for code in filter(_names_ours, _code(page)):
        name = code.replace(".", "/") if DOTTED.fullmatch(code) else code.rstrip("/")
        assert any(path.endswith((f"/{name}", f"/{name}.py")) for path in paths), code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    known = {
        name for file in CHECKOUT.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    named = {code for code in _code(page) if re.fullmatch(r"test_[a-z0-9_]{16,}", code)}
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_to_a_section(page: Path) -> None:
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        titles = re.findall(r"^#+ (.+)$", linked.read_text(), flags=re.M)
        assert anchor in {"", *(_anchor(title) for title in titles)}, target


def test_every_package_is_in_the_table_of_packages() -> None:
    page = (CHECKOUT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| (`[^|]+`) \|", page, flags=re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    packages = {path.stem for path in (CHECKOUT / "vmsandbox").iterdir() if not path.name.startswith("_")}
    assert packages <= named


def _anchor(title: str) -> str:
    """The anchor that GitHub gives to a title."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
