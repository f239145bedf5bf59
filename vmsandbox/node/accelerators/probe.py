"""Which accelerators really run a guest on this host: found out by booting the guest image, and remembered.

That /dev/kvm is there proves nothing: in a nested machine QEMU may abort with it, or the guest may never get anywhere.
So a machine is booted (`trial`), until its agent answers.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from vmsandbox import log, progress
from vmsandbox.claims import UserRange
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.guest import Transports
from vmsandbox.hypervisor import Accelerator, GuestImage, Hypervisor
from vmsandbox.node.accelerators.attempts import Attempt, AttemptCache, Circumstances, kvm_identity
from vmsandbox.node.accelerators.trial import Trial

_log = log.get(__name__)

DEADLINES: Mapping[Accelerator, float] = {Accelerator.KVM: 20.0, Accelerator.TCG: 120.0}
"""Seconds from a machine's start to its agent's answer."""

_EMULATED = "machines are emulated on this host, which is slow: KVM runs no guest (`vmsandbox check` says why)"


class Prober:
    """Boots machines to see whether they run; remembers what came of it."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        transports: Transports,
        image: GuestImage,
        runtime_directory: Path,
        state_directory: Path,
        *,
        users: UserRange,
        deadlines: Mapping[Accelerator, float] = DEADLINES,
    ) -> None:
        """All arguments stay the caller's.

        Args:
            hypervisor: runs the machines.
            transports: the ways to their agents.
            image: what they boot.
            runtime_directory: of this process; a directory `probe` is made in it for as long as a machine runs.
            state_directory: holds the cache, `accelerators.json`, which processes may share.
            users: gives the machines' processes theirs.
            deadlines: seconds per accelerator.
        """
        self._hypervisor = hypervisor
        self._image = image
        self._trial = Trial(hypervisor, transports, users, image, runtime_directory / "probe")
        self._cache = AttemptCache(state_directory / "accelerators.json")
        self._deadlines = deadlines

    async def choose(self, choice: str) -> Accelerator:
        """The accelerator for a configured `auto`, `kvm` or `tcg`. KVM is tried, unless the cache tells.

        Raises:
            FailedPrecondition: kvm is asked for, and does not run a guest here; the evidence says why.
        """
        if choice == Accelerator.TCG.value:
            return Accelerator.TCG
        kvm = await self._remembered(Accelerator.KVM)
        if kvm.works:
            return Accelerator.KVM
        if choice == Accelerator.KVM.value:
            raise FailedPrecondition(
                f"no guest runs under KVM here: {kvm.why_not}",
                hint="accelerator: auto falls back to TCG, which is slow; `vmsandbox check` tries again",
                evidence={"the attempt": kvm.report},
            )
        return Accelerator.TCG

    async def try_all(self) -> tuple[Attempt, ...]:
        """Try every accelerator now, whatever the cache holds, and remember what came of it."""
        attempts = tuple([await self._attempt(accelerator) for accelerator in Accelerator])
        self._cache.remember(await self._circumstances(), attempts)
        return attempts

    async def _remembered(self, accelerator: Accelerator) -> Attempt:
        now = await self._circumstances()
        known = self._cache.under(now)
        for attempt in known:
            if attempt.accelerator is accelerator:
                return attempt
        with progress.doing(f"Trying whether {accelerator.value.upper()} runs a guest, once in a boot of this host"):
            attempt = await self._attempt(accelerator)
        self._cache.remember(now, (*known, attempt))
        if not attempt.works:
            _log.info("KVM runs no guest here: %s", attempt.why_not)
            progress.warn(_EMULATED)
        return attempt

    async def _attempt(self, accelerator: Accelerator) -> Attempt:
        begin = time.monotonic()
        try:
            if accelerator is Accelerator.KVM and not kvm_identity():
                raise FailedPrecondition("this host has no /dev/kvm", hint="switch on virtualization in its firmware")
            await self._trial.boot(accelerator, self._deadlines[accelerator])
        except VmsandboxError as error:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():  # Then giving back has failed, and says nothing of KVM.
                raise asyncio.CancelledError from error
            return Attempt(accelerator, False, time.monotonic() - begin, str(error), error.report())
        return Attempt(accelerator, True, time.monotonic() - begin)

    async def _circumstances(self) -> Circumstances:
        return Circumstances.now(await self._hypervisor.version(), self._image)
