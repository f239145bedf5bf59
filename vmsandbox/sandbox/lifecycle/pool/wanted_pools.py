"""The pools that the settings want, one for each kind of machines, and what pods have found in them."""

import hashlib
import time
import uuid
from dataclasses import dataclass, replace

from vmsandbox.hypervisor import Hypervisor
from vmsandbox.process import Account
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.pool.waiting import nobody
from vmsandbox.sandbox.machines import Host, charge_of
from vmsandbox.sandbox.spec import WAITING_MAC, MachinePlan, MachineProfile, bare_machine_spec

_PAUSE, _LONGEST_PAUSE = 10.0, 600.0
"""Seconds without another attempt after one that has failed; they double with each."""


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """The pool of one kind of machines."""

    handlers: tuple[str, ...]
    size: int
    """Machines that are to wait."""
    waiting: int
    """Machines that do."""
    oldest: float
    """Seconds since the oldest of them was made."""
    hits: int
    misses: int
    """Pods that have found one, and that have found none."""

    @property
    def facts(self) -> dict[str, JSON]:
        """Return the same for people."""
        handlers: list[JSON] = [*self.handlers]
        counts = {"size": self.size, "waiting": self.waiting, "hits": self.hits, "misses": self.misses}
        return {"handlers": handlers, **counts, "oldestSeconds": round(self.oldest)}


@dataclass(slots=True)
class Pool:
    """One kind of machines that are to wait, and how many pods have found one."""

    plan: MachinePlan
    handlers: tuple[str, ...]
    hits: int = 0
    misses: int = 0
    pause: float = 0.0
    not_before: float = 0.0
    """No other machine is made before that moment of the monotonic clock."""

    @property
    def size(self) -> int:
        """The machines that are to wait."""
        return self.plan.profile.machine.pool.size

    @property
    def charge(self) -> int:
        """The bytes of the host that one machine takes while it waits."""
        return charge_of(self.plan.sizes.booted, self.plan.profile.accelerator)

    @property
    def most(self) -> int:
        """The machines that may wait."""
        bound = self.plan.profile.machine.pool.memory_max
        return self.size if bound is None else min(self.size, bound // self.charge)

    def failed(self) -> None:
        """Note that no machine could be made: none is for a while, which doubles with each failure."""
        self.pause = min(2 * self.pause or _PAUSE, _LONGEST_PAUSE)
        self.not_before = time.monotonic() + self.pause


class WantedPools(dict[str, Pool]):
    """The pools by the kinds of their machines. Handlers whose machines are the same share one."""

    def __init__(self, host: Host, admission: Admission) -> None:
        """Have none before `follow`. Both arguments stay the caller's."""
        super().__init__()
        self._host = host
        self._admission = admission
        self._seen: dict[str, MachineProfile] | None = None
        """The profiles of which the pools were made; None: they are to be made anew."""

    async def follow(self) -> bool:
        """Find the kinds of machines that are wanted now: a reload changes the profiles. Tell whether it was done.

        Raises:
            VmsandboxError: as `kind_of`.
        """
        profiles = {name: each for name, each in self._host.profiles.items() if each.machine.pool.size}
        if profiles == self._seen or not self._host.stays:
            return False
        found: dict[str, Pool] = {}
        for handler in profiles:
            plan = self._host.plan(uuid.uuid4().hex, nobody(handler), self._admission.bound)
            kind = await kind_of(self._host.hypervisor, plan)
            pool = found.get(kind) or replace(self.get(kind) or Pool(plan, ()), plan=plan, handlers=())
            if plan.profile.machine.pool.size > pool.size:
                pool.plan = plan
            found[kind] = replace(pool, handlers=(*pool.handlers, handler))
        self.clear()
        self.update(found)
        self._seen = profiles
        return True

    def asked(self, kind: str, *, hit: bool) -> None:
        """Note whether a pod has found a machine of a kind.

        After one that has found none, `follow` finds all kinds anew: QEMU was perhaps upgraded, and other machines are
        needed.
        """
        if (pool := self.get(kind)) is not None:
            pool.hits, pool.misses = pool.hits + hit, pool.misses + (not hit)
        if not hit:
            self._seen = None


async def kind_of(hypervisor: Hypervisor, plan: MachinePlan) -> str:
    """Return a digest of all that the pods have in common that may have one machine."""
    machine = plan.profile.machine
    state = await hypervisor.state_key(bare_machine_spec(plan, Account(0, 0)))
    disk = (machine.scratch_size, machine.scratch_bandwidth, machine.scratch_iops)
    parts = (state, disk, plan.file_server, WAITING_MAC)  # those of earlier versions have no card
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
