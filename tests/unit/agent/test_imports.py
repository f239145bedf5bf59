"""The imports that the agent may have: it is PID 1 of a guest that has Python's standard library and nothing else."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
ALLOWED = {
    "agent/vmsandbox_agent": ("vmsandbox_agent", "vmsandbox.protocol"),
    "vmsandbox/protocol": ("vmsandbox.protocol",),
}
"""The packages for the guest, and the packages of ours that each may import beside the standard library."""


def imported(source: str) -> Iterator[str]:
    """Yield the modules that a source imports, at any depth; of `from a import b` both `a` and `a.b` stand for it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strangers(source: str, ours: tuple[str, ...]) -> list[str]:
    """Return what a source imports that is neither the standard library's nor below one of `ours`."""
    return [
        name
        for name in imported(source)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in ours)
    ]


@pytest.mark.parametrize("package", ALLOWED)
def test_the_agent_imports_the_standard_library_and_the_protocol_alone(package: str) -> None:
    sources = list((CHECKOUT / package).rglob("*.py"))
    assert len(sources) > 5
    found = {str(path): strangers(path.read_text(), ALLOWED[package]) for path in sources}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import yaml",
        "from vmsandbox import errors",
        "from vmsandbox.model import Pod",
        "def f():\n    import vmsandbox.fs",
    ],
)
def test_an_import_of_anything_else_is_found(source: str) -> None:
    assert len(strangers(source, ALLOWED["agent/vmsandbox_agent"])) == 1
