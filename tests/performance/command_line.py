"""CPU time of commands, beside that of another version and of the interpreter, in one run.

    python -m tests.performance.command_line BEFORE [TIMES]      BEFORE is a checkout, e.g. made by `git worktree add`

Commands run with this interpreter. Those that ask the daemon ask one in front of fakes, which is this version's; the
lowest of all times counts, since whatever else the machine does can only add to it.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.cri import IMAGE, served
from vmsandbox.model import ContainerConfig, ContainerMetadata, PodSandboxConfig, PodSandboxMetadata

HERE = Path(__file__).parents[2]
MAIN = "import sys; sys.argv[0] = 'vmsandbox'; from vmsandbox.__main__ import main; main()"
PODS = 20


@dataclass(frozen=True)
class Command:
    """A command line, and what it is called in the output."""

    title: str
    words: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def completion(line: str) -> Command:
    """TAB at the end of a line, in bash."""
    count = str(line.count(" "))
    variables = {"COMP_WORDS": line, "COMP_CWORD": count, "_VMSANDBOX_COMPLETE": "bash_complete"}
    return Command(f"TAB after `{line}`", environment=variables)


COMMANDS = [
    Command("vmsandbox --help", ["--help"]),
    Command("vmsandbox image --help", ["image", "--help"]),
    Command("vmsandbox run --help", ["run", "--help"]),
    completion("vmsandbox r"),
    Command("vmsandbox ps", ["ps"]),
    Command("vmsandbox pods", ["pods"]),
    Command("vmsandbox images", ["images"]),
]


def cpu_time(code: str, words: Sequence[str], tree: Path, environment: Mapping[str, str]) -> float:
    """Return the seconds of user and system time that a process of a checkout takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "HOME": "/root"}
    subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd="/",
        env={**paths, **environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(before: Path, times: int, config: Path) -> None:
    """Print a line for each command, alternating between the versions."""
    _print(f"{'':28} {'before':>8} {'now':>8} {'ratio':>6}")
    for command in [Command("python -c pass"), *COMMANDS]:
        code = "pass" if command.title == "python -c pass" else MAIN
        variables = {"VMSANDBOX_CONFIG": str(config), **command.environment}
        seconds: dict[Path, list[float]] = {before: [], HERE: []}
        for _ in range(times):
            for tree, taken in seconds.items():
                taken.append(cpu_time(code, command.words, tree, variables))
        old, new = min(seconds[before]), min(seconds[HERE])
        _print(f"{command.title:28} {old:6.3f} s {new:6.3f} s {old / new:6.1f}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(before: Path, times: int) -> None:
    """Serve some pods, and compare."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with served(directory) as daemon:
            daemon.images.held[IMAGE.id] = IMAGE
            for number in range(PODS):
                metadata = PodSandboxMetadata(f"web-{number}", f"uid-{number}", "default")
                pod = await daemon.runtime.run_pod_sandbox(PodSandboxConfig(metadata, runtime_handler="small"))
                config = ContainerConfig(ContainerMetadata("server"), IMAGE.id)
                await daemon.runtime.start_container(await daemon.runtime.create_container(pod, config))
            (directory / "config.yaml").write_text(f"socket: {daemon.path}\nrun_directory: {directory}\n")
            await asyncio.to_thread(compare, before, times, directory / "config.yaml")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 7))
