"""Templates: the states of unclaimed machines that have booted, from which machines of pods go on.

A template is one directory, named by the digest of all that its machine depends on. It is made in another one, whose
name has the id of the machine that is being saved: that one is the record of the machine, and goes when it is gone.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs, log
from vmsandbox.errors import DeadlineExceeded, VmsandboxError
from vmsandbox.fs.durable import replace_whole, sync_directory
from vmsandbox.hypervisor import Hypervisor, MachineSpec
from vmsandbox.sandbox.spec import MachinePlan
from vmsandbox.telemetry.declared import TEMPLATES_DISCARDED

_log = log.get(__name__)

KEPT = 8
"""Templates that are kept: those that were used last. Each takes about as much of the disk as a booted guest uses."""

_LATE = 3
"""Machines in a row that did not answer in time after which their template is taken for the reason, not a busy host.

Of those that went on from it at the same time one counts."""

_STATE, _SEAL, _MADE = "state", "template.json", "template"
_DIGESTS = "sha256"
_MAKING = re.compile(r"making-([0-9a-f]{32})")
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Template:
    """One that is whole."""

    key: str
    directory: Path
    found_at: float
    """When it was found for the machine that is about to go on from it, by the monotonic clock."""

    @property
    def state(self) -> Path:
        """The file for `Hypervisor.restore`."""
        return self.directory / _STATE


@dataclass(frozen=True, slots=True)
class _Lateness:
    """The machines in a row of one template that did not answer in time."""

    times: int = 0
    at: float = 0
    """When the last one was counted."""


class Templates:
    """The templates of one process, which owns their directory."""

    def __init__(self, directory: Path | None, hypervisor: Hypervisor) -> None:
        """Nothing is made before the first template is. Without a directory there are none."""
        self.possible = directory is not None
        self._directory = directory or Path("/nonexistent")
        self._hypervisor = hypervisor
        self._checked: set[str] = set()
        self._refused: set[str] = set()
        """The keys of templates that were of no use, and are not made again by this process."""
        self._late: defaultdict[str, _Lateness] = defaultdict(_Lateness)
        """The machines that were late, by the key of their template."""
        self._wanted: asyncio.Queue[MachinePlan] = asyncio.Queue(KEPT)

    async def find(self, spec: MachineSpec) -> Template | None:
        """Return the template of a machine, where there is one; the first time, its content is compared with its seal.

        Args:
            spec: of the machine; only what is there before it is claimed counts.
        """
        key = await self._hypervisor.state_key(spec)
        template = Template(key, self._directory / key, time.monotonic())
        if not template.directory.is_dir():  # also where somebody has removed one that was used
            self._checked.discard(key)
            return None
        if key in self._checked:
            os.utime(template.directory)
            return template
        if await asyncio.to_thread(_is_whole, template.directory):
            self._checked.add(key)
            return template
        await self._remove(template)
        return None

    def want(self, plan: MachinePlan) -> None:
        """Have a template made for machines like that of a plan, in a while; see `wanted`."""
        if not self._wanted.full():
            self._wanted.put_nowait(plan)

    async def wanted(self) -> MachinePlan:
        """Return the plan of a machine that found no template, as soon as there is one."""
        return await self._wanted.get()

    async def key_to_make(self, spec: MachineSpec) -> str:
        """Return the key of a template that is to be made; empty: it is there, or of no use."""
        key = await self._hypervisor.state_key(spec)
        return "" if key in self._refused or (self._directory / key).is_dir() else key

    def begin(self, machine_id: str) -> Path:
        """Record that a machine is about to be made to become a template, and return the file for its state."""
        fs.make_missing(self._directory, 0o700)
        made = self._making(machine_id) / _MADE
        made.mkdir(mode=0o700, parents=True)
        return made / _STATE

    def begun(self) -> Iterator[str]:
        """Return the ids of the machines that were to become templates, and may still be there."""
        for path in self._directory.glob("making-*"):
            if found := _MAKING.fullmatch(path.name):
                yield found[1]

    async def seal(self, machine_id: str, key: str) -> None:
        """Make the state that was saved a template. The machine has ended."""

        def seal() -> None:
            made = self._making(machine_id) / _MADE
            digests = {}
            for path in _files(made):
                digests[path.name] = _digest(path)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            replace_whole(made / _SEAL, json.dumps({_DIGESTS: digests}).encode())
            made.rename(self._directory / key)
            sync_directory(self._directory)
            self._remove_oldest()

        await asyncio.to_thread(seal)
        self._checked.add(key)

    async def end(self, machine_id: str) -> None:
        """Forget a machine that was to become a template, and has ended. Succeeds where nothing is known of it."""
        await asyncio.to_thread(shutil.rmtree, self._making(machine_id), ignore_errors=True)

    def succeeded(self, template: Template) -> None:
        """Note that the agent of a machine has answered that went on from a template."""
        self._late.pop(template.key, None)

    async def failed(self, template: Template, why: VmsandboxError) -> None:
        """Remove a template that was of no use; see `refuse`. One machine that was late does not tell it."""
        if isinstance(why, DeadlineExceeded) and self._may_be_busy_host(template):
            return
        TEMPLATES_DISCARDED.add()
        self.refuse(template.key, why)
        await self._remove(template)

    def refuse(self, key: str, why: VmsandboxError) -> None:
        """Have no template of that key made (again) by this process; the reason is logged once."""
        if key not in self._refused:
            self._refused.add(key)
            _log.warning("machines are booted, since a template is of no use: %s", why, extra=log.of_error(why))

    def _may_be_busy_host(self, template: Template) -> bool:
        """Count a machine that was late, unless it went on before the last one was counted: both met the same host."""
        late = self._late[template.key]
        if template.found_at < late.at:
            return True
        self._late[template.key] = _Lateness(late.times + 1, time.monotonic())
        return late.times + 1 < _LATE

    def _making(self, machine_id: str) -> Path:
        return self._directory / f"making-{machine_id}"

    async def _remove(self, template: Template) -> None:
        self._checked.discard(template.key)
        await asyncio.to_thread(shutil.rmtree, template.directory, ignore_errors=True)

    def _remove_oldest(self) -> None:
        templates = [path for path in self._directory.iterdir() if _KEY.fullmatch(path.name)]
        for path in sorted(templates, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            self._checked.discard(path.name)
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(directory: Path) -> bool:
    """Whether the files of a template are what was saved."""
    try:
        seal = json.loads((directory / _SEAL).read_bytes())
        return bool(seal[_DIGESTS] == {path.name: _digest(path) for path in _files(directory)})
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _files(directory: Path) -> list[Path]:
    """The files of a template but its seal: the state, and what the hypervisor has beside that."""
    return sorted(path for path in directory.iterdir() if path.name != _SEAL)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
