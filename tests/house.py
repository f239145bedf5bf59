"""Measure how the code is laid out: `python -m tests.house [CHECKOUT] [--places]`.

The figures before a change: `git worktree add /tmp/before COMMIT`, then `python -m tests.house /tmp/before`. Everything
is read with `ast`; nothing of the checkout is imported.
"""

import argparse
import ast
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOTS = ("vmsandbox", "agent/vmsandbox_agent")
"""The packages that are measured; tests and the tools of the guest image are not."""
SHORT = 60
"""Lines below which a module with one importer belongs into that importer."""


@dataclass(frozen=True, slots=True)
class Module:
    """One file of Python."""

    name: str
    lines: int
    is_package: bool
    imports: Mapping[str, str]
    """The imports from these packages, at any depth in the code: a dotted name, and the module that has it."""
    classes: tuple[str, ...]
    documented: int
    public: int


@dataclass(frozen=True)
class House:
    """All modules of a checkout, by their names."""

    modules: Mapping[str, Module]

    @cached_property
    def lines(self) -> list[int]:
        """The lines of each module but the faces of packages (`__init__`), the shortest first."""
        return sorted(module.lines for module in self.modules.values() if not module.is_package)

    @cached_property
    def used(self) -> dict[str, set[str]]:
        """Which modules each module uses.

        A name that a package's face exports counts for the module that defines it, and exporting it is not a use of it.
        """
        return {name: set(self._uses(module)) - {name} for name, module in self.modules.items()}

    @cached_property
    def importers(self) -> dict[str, set[str]]:
        """Which modules use each module."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, used in self.used.items():
            for other in used:
                found[other].add(name)
        return found

    def single(self) -> list[str]:
        """Name the modules that exactly one other module uses."""
        return sorted(name for name in self.modules if len(self.importers.get(name, ())) == 1)

    def deepest(self, through_faces: bool) -> list[str]:
        """Name the modules of the longest chain in which each imports the next.

        Args:
            through_faces: follow an import to the package's face and from there to its modules, as the interpreter
                does; otherwise to the module that defines the name, as a reader does.
        """
        edges = {name: set(module.imports.values()) for name, module in self.modules.items()}
        return _longest_chain(edges if through_faces else self.used)

    def repeated(self) -> dict[str, list[str]]:
        """Return the names that more than one class has, with the modules that define them."""
        places: dict[str, list[str]] = defaultdict(list)
        for module in self.modules.values():
            for name in module.classes:
                places[name].append(module.name)
        return {name: sorted(found) for name, found in sorted(places.items()) if len(found) > 1}

    def _uses(self, module: Module) -> Iterator[str]:
        for what in module.imports:
            origin = self._origin(what)
            if not (module.is_package and origin.startswith(f"{module.name}.")):
                yield origin

    def _origin(self, what: str) -> str:
        """Return the module that defines the dotted name `what`, seen through any number of faces."""
        if what in self.modules:
            return what
        owner, _, _ = what.rpartition(".")
        onwards = self._exports(owner).get(what.rpartition(".")[2])
        return self._origin(onwards) if onwards and onwards != what else owner

    def _exports(self, owner: str) -> dict[str, str]:
        """Return the names that a package's face takes from elsewhere, and their dotted names there."""
        module = self.modules[owner]
        return {what.rpartition(".")[2]: what for what in module.imports} if module.is_package else {}


def measure(checkout: Path) -> House:
    """Read every module of the checkout.

    Raises:
        SyntaxError: a module is not valid Python.
    """
    files = {name: path for root in ROOTS for name, path in _files(checkout / root)}
    return House({name: _read(name, path, files) for name, path in files.items()})


def table(house: House) -> str:
    """Return the figures as lines of text."""
    count, single = len(house.lines), [name for name in house.single() if not house.modules[name].is_package]
    short = [lines for lines in house.lines if lines < SHORT]
    rooms = [name for name in single if house.modules[name].lines < SHORT]
    documented = sum(module.documented for module in house.modules.values())
    public = sum(module.public for module in house.modules.values())
    rows = {
        "modules, without faces": f"{count}",
        "faces (`__init__` of packages)": f"{len(house.modules) - count}",
        "lines, median": f"{statistics.median(house.lines):g}",
        "lines, the three largest": ", ".join(str(lines) for lines in house.lines[:-4:-1]),
        f"modules below {SHORT} lines": _share(len(short), count),
        "modules with one importer": _share(len(single), count),
        f"... of these below {SHORT} lines": _share(len(rooms), count),
        "deepest import chain, by definitions": f"{len(house.deepest(through_faces=False))}",
        "deepest import chain, through faces": f"{len(house.deepest(through_faces=True))}",
        "largest flat package, modules": _largest_package(house),
        "class names used more than once": f"{len(house.repeated())}",
        "public names with a docstring": _share(documented, public),
    }
    width = max(map(len, rows))
    return "".join(f"{label:<{width}}  {value}\n" for label, value in rows.items())


def _places(house: House) -> Iterator[str]:
    yield "\nClass names used more than once:\n"
    yield from (f"  {name}: {', '.join(modules)}\n" for name, modules in house.repeated().items())
    yield f"\nModules below {SHORT} lines with one importer:\n"
    for name in house.single():
        if house.modules[name].lines < SHORT and not house.modules[name].is_package:
            yield f"  {name} ({house.modules[name].lines}): {', '.join(house.importers[name])}\n"
    yield "\nThe deepest import chain, by definitions:\n"
    yield from (f"  {name}\n" for name in house.deepest(through_faces=False))


def _largest_package(house: House) -> str:
    sizes: dict[str, int] = defaultdict(int)
    for name, module in house.modules.items():
        if not module.is_package:
            sizes[name.rpartition(".")[0]] += 1
    largest = max(sizes, key=lambda name: sizes[name], default="")
    return f"{sizes.get(largest, 0)} ({largest})"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "0"


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _read(name: str, path: Path, known: Iterable[str]) -> Module:
    text = path.read_text()
    tree = ast.parse(text, str(path))
    documented = [ast.get_docstring(node) is not None for node in _public(tree)]
    return Module(
        name,
        lines=len(text.splitlines()),
        is_package=path.name == "__init__.py",
        imports={what: owner for what, owner in _imports(tree, frozenset(known)) if owner != name},
        classes=tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef)),
        documented=sum(documented),
        public=len(documented),
    )


def _imports(tree: ast.Module, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield each imported dotted name with the module that the import statement finds it in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                what = f"{node.module}.{alias.name}"
                yield what, what if what in known else node.module


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(node: _Documented) -> Iterator[_Documented]:
    """Yield the module, its public classes and functions, and the public methods of those classes."""
    yield node
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith("_"):
            if isinstance(child, ast.ClassDef):
                yield from _public(child)
            elif not _overrides(child):
                yield child


def _overrides(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a method has its docstring in the class that it overrides (`@override`), or in its other overloads."""
    names = {node.id for node in function.decorator_list if isinstance(node, ast.Name)}
    return bool(names & {"override", "overload"})


def _longest_chain(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the longest path; an import circle is entered once."""
    known: dict[str, list[str]] = {}
    entered: set[str] = set()

    def chain(name: str) -> list[str]:
        if name not in known:
            entered.add(name)
            below = (chain(other) for other in sorted(edges[name]) if other not in entered or other in known)
            known[name] = [name, *max(below, key=len, default=[])]
        return known[name]

    return max((chain(name) for name in sorted(edges)), key=len, default=[])


def main(arguments: list[str] | None = None) -> None:
    """Print the table of a checkout, this one if none is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.house", description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1], metavar="CHECKOUT")
    parser.add_argument("--places", action="store_true", help="name the modules and classes that count")
    options = parser.parse_args(arguments)
    house = measure(options.checkout)
    sys.stdout.write(table(house))
    if options.places:
        sys.stdout.writelines(_places(house))


if __name__ == "__main__":
    main()
