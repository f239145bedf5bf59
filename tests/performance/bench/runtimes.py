"""The two runtimes of a run, with the same images, and a collector of what vmsandbox tells of its calls."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cri_api.v1 import api_pb2 as pb

from tests.performance.bench.figures import HERE, THERE
from tests.standins.images import BUSYBOX
from tests.support.collector import Collector, collecting
from tests.support.conformance import Serving
from tests.support.conformance_client import Cri
from tests.support.judged import Judge, both_runtimes
from tests.support.registry import Registry, running_registry
from vmsandbox.config import MachineConfig

MACHINE: Mapping[str, Any] = {"memory": "192Mi", "boot_deadline": 300}
_MACHINES_DEADLINE = 600.0


@dataclass(frozen=True)
class Source:
    """Where machines come from."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of `machine` that ask for it."""

    @property
    def boots(self) -> bool:
        """Whether each machine boots for its pod."""
        return self.settings.get("template") == "off"

    @property
    def configurable(self) -> bool:
        """Whether this version has it."""
        return set(self.settings) <= set(MachineConfig.__dataclass_fields__)


SOURCES = (
    Source("cold", {"template": "off"}),
    Source("template", {"template": "auto"}),
    Source("pool", {"template": "auto", "pool": {"size": 10}}),
)


@dataclass(frozen=True)
class Runtimes:
    """Both runtimes; `directory` is for volumes, and any user may enter it."""

    ours: Serving
    judge: Judge
    registry: Registry
    """For images of the run's own."""
    collector: Collector
    directory: Path
    source: Source

    def each(self, repetitions: int) -> Iterator[tuple[str, Cri]]:
        """The runtimes by name, alternately, each `repetitions` times."""
        return itertools.chain.from_iterable(itertools.repeat(tuple(self.both().items()), repetitions))

    def both(self) -> dict[str, Cri]:
        """The clients of both, by name: the judge first."""
        return {THERE: self.judge.cri, HERE: self.ours.cri}

    def warm_up(self) -> None:
        """Have images pulled, and machines or their template made, so that what follows is the usual case."""
        for cri in self.both().values():
            cri.pull(BUSYBOX)
            cri.run_pod().remove()
        if self.source.settings["template"] == "auto":
            _wait("no template was made", lambda: self.ours.has_template)
            self.ours.cri.run_pod().remove()
        self.wait_for_machines()

    def wait_for_machines(self) -> None:
        """Wait until all pools are full, where the source is one: filling them takes the CPU from what is measured."""
        if self.source.settings.get("pool"):
            _wait("the pools are not filled", self._are_full)

    def _are_full(self) -> bool:
        status = self.ours.cri.runtime.Status(pb.StatusRequest(verbose=True))
        return all(pool["waiting"] >= pool["size"] for pool in json.loads(status.info["host"])["pools"])


@contextlib.contextmanager
def runtimes(source: Source) -> Iterator[Runtimes]:
    """Run both, with machines of a source."""
    with collecting() as (collector, address):
        settings = {"machine": {**MACHINE, **source.settings}, "traces": {"endpoint": address}}
        with both_runtimes(settings) as (ours, judge, directory), _registry(ours, directory) as registry:
            made = Runtimes(ours, judge, registry, collector, directory, source)
            made.warm_up()
            yield made


@contextlib.contextmanager
def _registry(ours: Serving, directory: Path) -> Iterator[Registry]:
    """A registry that vmsandbox may speak HTTP to; containerd does so with every loopback address."""
    (directory / "registry").mkdir()
    with running_registry(directory / "registry") as registry:
        with (ours.directory / "registries.conf").open("a") as file:
            file.write(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
        yield registry


def best_source() -> Source:
    """The quickest source that this version has, without those that keep machines waiting."""
    return SOURCES[1]


def timed(work: Callable[..., object], *arguments: object) -> float:
    """Return the seconds that work took."""
    begin = time.monotonic()
    work(*arguments)
    return time.monotonic() - begin


def _wait(complaint: str, done: Callable[[], bool]) -> None:
    end = time.monotonic() + _MACHINES_DEADLINE
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(complaint)
        time.sleep(0.1)
