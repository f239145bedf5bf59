"""Starting processes by crun: with pipes, or with the terminal that crun makes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from vmsandbox_agent.containers.context import AgentContext
from vmsandbox_agent.containers.crun import Fds
from vmsandbox_agent.containers.process import Process
from vmsandbox_agent.measures import Cgroup
from vmsandbox_agent.streams import ConsoleSocket, Pipes, Stdio

Start = Callable[[Fds | None, Path | None], Awaitable[int]]
"""Has crun start a process with these file descriptors, or with a console socket; gives its pid."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A process that is to be started: a container's first, or (with `exec_id`) an exec's."""

    container_id: str
    cgroup: Cgroup
    null: Path
    """The input of a process that has neither input nor a terminal."""
    stdin: bool
    tty: bool
    exec_id: str = ""
    ends_all: bool = False
    """Whether its end ends everything in the cgroup (see `Process`)."""

    async def run(self, context: AgentContext, start: Start) -> Process:
        """The process, watched. On failure or cancellation none is left."""
        with context.reaper.adopting():
            pid, stdio = await (self._with_terminal(context, start) if self.tty else self._with_pipes(start))
            return Process(
                pid,
                context.reaper.watch(pid),
                stdio,
                container_id=self.container_id,
                exec_id=self.exec_id,
                cgroup=self.cgroup,
                events=context.events,
                ends_all=self.ends_all,
            )

    async def _with_terminal(self, context: AgentContext, start: Start) -> tuple[int, Stdio]:
        listener = ConsoleSocket(context.settings.state)
        try:
            pid = await start(None, listener.path)
            return pid, await listener.receive(stdin=self.stdin)
        finally:
            listener.close()

    async def _with_pipes(self, start: Start) -> tuple[int, Stdio]:
        pipes = Pipes(None if self.stdin else self.null)
        try:
            return await start(pipes.child, None), pipes.stdio
        except BaseException:
            pipes.stdio.close()
            raise
        finally:
            pipes.close_child()
