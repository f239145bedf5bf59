"""Which kernel modules the initramfs holds, the order in which it loads them, and those that wait to be asked for."""

import lzma
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from vmsandbox.errors import FailedPrecondition


def module_name(path: str) -> str:
    """A module's name: dashes and underscores are the same to the kernel."""
    return PurePosixPath(path).name.partition(".")[0].replace("-", "_")


def parse_dependencies(modules_dep: str) -> dict[str, tuple[str, ...]]:
    """modules.dep(5) by path: for each module those that it needs, nearest first."""
    dependencies = {}
    for line in modules_dep.splitlines():
        path, _, needed = line.partition(":")
        dependencies[path] = tuple(needed.split())
    return dependencies


def load_order(
    wanted: Iterable[str], dependencies: Mapping[str, tuple[str, ...]], builtin: Iterable[str]
) -> tuple[str, ...]:
    """The paths to load, in the order of `wanted`, each after those it depends on and none twice.

    Args:
        wanted: names of modules.
        dependencies: of `parse_dependencies`.
        builtin: paths out of modules.builtin; such a module needs no loading.

    Raises:
        FailedPrecondition: the kernel does not have a module.
    """
    paths = {module_name(path): path for path in dependencies}
    present = {module_name(path) for path in builtin}
    order: dict[str, None] = {}
    for name in map(module_name, wanted):
        if name in present:
            continue
        if name not in paths:
            raise FailedPrecondition(f"the kernel has no module {name}")
        # modules.dep lists all that are needed, also indirectly, and each after those that need it.
        order.update(dict.fromkeys((*reversed(dependencies[paths[name]]), paths[name])))
    return tuple(order)


def copy_modules(wanted: Iterable[str], kernel: Path, destination: Path) -> None:
    """Write the modules, uncompressed, and the file `order` that names them in their order of loading.

    Args:
        wanted: names of modules.
        kernel: the kernel's directory in lib/modules, after depmod(8).
        destination: a directory, made here.
    """
    order = load_order(
        wanted,
        parse_dependencies((kernel / "modules.dep").read_text()),
        (kernel / "modules.builtin").read_text().split(),
    )
    destination.mkdir()
    for path in order:
        (destination / f"{module_name(path)}.ko").write_bytes(_uncompressed(kernel / path))
    (destination / "order").write_text("".join(f"{module_name(path)}.ko\n" for path in order))


def install_modules(patterns: Iterable[str], kernel: Path, destination: Path) -> None:
    """Write the modules, uncompressed, and those they depend on, to where depmod(8) and modprobe(8) look for them.

    Args:
        patterns: of paths below the kernel's `kernel` directory, in the form of pathlib's glob.
        kernel: the kernel's directory in lib/modules, after depmod(8).
        destination: the same in the root file system, made here; depmod(8) is the caller's to run there.

    Raises:
        FailedPrecondition: the kernel has nothing that a pattern means.
    """
    dependencies = parse_dependencies((kernel / "modules.dep").read_text())
    for pattern in patterns:
        found = [str(path.relative_to(kernel)) for path in (kernel / "kernel").glob(pattern) if path.is_file()]
        if not found:
            raise FailedPrecondition(f"the kernel has no module {pattern}")
        for path in {needed for module in found for needed in (module, *dependencies[module])}:
            target = destination / path.removesuffix(".xz")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_uncompressed(kernel / path))
    for name in ("modules.builtin", "modules.order"):
        (destination / name).write_bytes((kernel / name).read_bytes())


def _uncompressed(module: Path) -> bytes:
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content
