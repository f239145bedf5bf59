"""The record of one container: it is stored and announced at every change."""

import asyncio
import signal
import time
from dataclasses import replace
from typing import Any

from vmsandbox import log
from vmsandbox.errors import KilledForMemory, VmsandboxError
from vmsandbox.model import ContainerEvent, ContainerEventKind, ContainerState, ContainerTimings
from vmsandbox.protocol.messages import Exit
from vmsandbox.sandbox.containers.context import ContainerContext
from vmsandbox.state import ContainerRecord
from vmsandbox.telemetry.declared import CONTAINER_ENDS

_lives = log.get("vmsandbox.pods")
"""The journal of the lives of pods and containers."""

EXIT_UNKNOWN = 255
"""Exit code of a container whose machine died, as in containerd for a task whose shim died."""
_KILLED = 128 + signal.SIGKILL


class RecordKeeper:
    """The record of a container, which changes here alone.

    It ends twice: its process does, which the agent tells; and it is EXITED when its output is in the log, too.
    """

    def __init__(self, context: ContainerContext, record: ContainerRecord) -> None:
        """Begin with `record`, wherever it comes from."""
        self.record = record
        self.exit = asyncio.Event()
        """Set when the container's process has ended."""
        self.ended = asyncio.Event()
        """Set when the container is EXITED."""
        self._context = context
        self._exit_recorded = bool(record.finished_at)
        """A repeated exit is then nothing new; a guest may say it as often as it likes."""
        if record.finished_at:
            self.exit.set()
        if record.state is ContainerState.EXITED:
            self.ended.set()

    def save(self, **changes: Any) -> None:
        """Change the record. Raises ResourceExhausted where it is not on disk."""
        self.record = replace(self.record, **changes)
        self._context.state.put(self.record.id, self.record)

    def tell(self, kind: ContainerEventKind, **changes: Any) -> None:
        """Change the record for what has happened already, and tell everybody."""
        self.record = replace(self.record, **changes)
        self._context.state.note(self.record.id, self.record)
        self._publish(kind)

    def exited(self, event: Exit) -> None:
        """The agent says that its process has ended; it may say so again.

        Raises:
            ResourceExhausted: it is not recorded, and so must not be acknowledged; the call may be repeated.
        """
        if self._exit_recorded:
            return
        if not self.exit.is_set():
            reason = "OOMKilled" if event.oom_killed else "Error" if event.exit_code else "Completed"
            self.record = replace(self.record, exit_code=event.exit_code, reason=reason, finished_at=event.at)
            self.exit.set()
        if self.record.state is not ContainerState.UNKNOWN:  # It is being made, or was removed.
            self.save()
            self._exit_recorded = True

    def machine_died(self, error: BaseException) -> None:
        """Record that the machine is gone, with output that had not arrived. A container being made fails by itself.

        A machine that the kernel killed for its memory ends its containers as the kernel would have without a machine.
        """
        if self.record.state is ContainerState.UNKNOWN:
            return
        message = error.report() if isinstance(error, VmsandboxError) else str(error)
        if isinstance(error, KilledForMemory):
            self.lost("OOMKilled", message, _KILLED)
        else:
            self.lost("SandboxDied", message)

    def lost(self, reason: str, message: str, exit_code: int = EXIT_UNKNOWN) -> None:
        """Record that the container is gone, unless the agent reported its end before."""
        if not self.exit.is_set() and not self.ended.is_set():
            self.record = replace(self.record, exit_code=exit_code, reason=reason, finished_at=time.time_ns())
        self.end(message=message)

    def end(self, **changes: Any) -> None:
        """Make the container EXITED, if it is not."""
        if not self.ended.is_set():
            self.tell(ContainerEventKind.STOPPED, state=ContainerState.EXITED, **changes)
            self.ended.set()
            CONTAINER_ENDS.add(self.record.reason)
            self._log("has ended: exit code %d, %s", self.record.exit_code, self.record.reason)

    def started(self, timings: ContainerTimings) -> None:
        """Record that its process runs, and how long that has taken."""
        now = time.time_ns()
        self.tell(ContainerEventKind.STARTED, state=ContainerState.RUNNING, started_at=now, timings=timings)
        self._log("is started")

    def delete(self) -> None:
        """Take the record off the disk. Raises ResourceExhausted where it stays."""
        self._context.state.delete(ContainerRecord, self.record.id)

    def discard(self) -> None:
        """Delete the record; if that fails, log it: the next process removes the record."""
        self._context.state.discard(ContainerRecord, self.record.id)

    def removed(self) -> None:
        """All of it is gone, and is told so once."""
        self.delete()
        told = self.record.state is ContainerState.UNKNOWN
        self.record = replace(self.record, state=ContainerState.UNKNOWN)
        if not told:
            self._publish(ContainerEventKind.DELETED)

    def _log(self, what: str, *arguments: object) -> None:
        container, context = self.record, self._context
        with log.about(context.subject(container)):
            name = container.config.metadata.name
            _lives.info(f"container %s (%s) of %s {what}", name, container.id, context.pod, *arguments)

    def _publish(self, kind: ContainerEventKind) -> None:
        self._context.publish(ContainerEvent(self.record.id, self.record.sandbox_id, kind, time.time_ns()))
