"""Commands in the guest itself, beside its containers: a shell for debugging, where the host has allowed it."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import GUEST, Exec
from vmsandbox_agent import console, oom_scores
from vmsandbox_agent.containers.context import AgentContext
from vmsandbox_agent.containers.process import Process
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures import Cgroup
from vmsandbox_agent.streams import Pipes, Stdio, terminal_stdio

_KILLED_FIRST = 1000
"""The oom_score_adj of commands: what a person runs to look into a pod is not to cost the pod a container."""

_Started = tuple[int, asyncio.Future[int], Stdio]


class GuestCommands:
    """The commands that run in the guest itself, as its root. They stand for a container of the id `GUEST`."""

    id = GUEST

    def __init__(self, context: AgentContext) -> None:
        """Allow none."""
        self.allowed = False
        """Whether the host wants commands (`ConfigureGuest.debug`)."""
        self.execs: dict[str, Process] = {}
        self._context = context
        self._cgroup = Cgroup(context.settings.cgroups)

    @property
    def process(self) -> Process:
        """Raise AgentError: the guest's own first process is the agent, which has no streams."""
        raise AgentError("not_found", "the guest itself has no first process of the host's")

    async def exec(self, request: Exec) -> None:
        """Start a command; its words and variables are those of the runtime-spec's `process`, no words are a shell.

        Raises:
            AgentError: the host has not allowed it when it configured the guest.
            OSError: it cannot be started.
        """
        if not self.allowed:
            raise AgentError("failed_precondition", "this guest was configured without commands in itself")
        document = cast(dict[str, JSON], request.process)
        words = [str(word) for word in cast(list[JSON], document.get("args", []))]
        console.info(f"the host runs in the guest itself: {' '.join(words) or 'a shell'}")
        argv = [*self._context.settings.shell, *(["-c", '"$@"', "sh", *words] if words else [])]
        environment = {**os.environ, **_variables(cast(list[JSON], document.get("env", [])))}
        with oom_scores.inherited(_KILLED_FIRST):
            self.execs[request.exec_id] = self._start(request, argv, environment)

    def _start(self, request: Exec, argv: list[str], environment: Mapping[str, str]) -> Process:
        start = self._with_terminal if request.tty else self._with_pipes
        pid, ended, stdio = start(argv, environment, stdin=request.stdin)
        return Process(
            pid,
            ended,
            stdio,
            container_id=GUEST,
            exec_id=request.exec_id,
            cgroup=self._cgroup,
            events=self._context.events,
        )

    def _with_terminal(self, argv: list[str], environment: Mapping[str, str], *, stdin: bool) -> _Started:
        master, node = os.openpty()
        stdio = terminal_stdio(master, stdin=stdin)
        try:
            return *self._context.reaper.spawn_in_terminal(argv, os.ttyname(node), environment), stdio
        except BaseException:
            stdio.close()
            raise
        finally:
            os.close(node)

    def _with_pipes(self, argv: list[str], environment: Mapping[str, str], *, stdin: bool) -> _Started:
        pipes = Pipes(None if stdin else Path(os.devnull))
        try:
            return *self._context.reaper.spawn(argv, *pipes.child, environment), pipes.stdio
        except BaseException:
            pipes.stdio.close()
            raise
        finally:
            pipes.close_child()


def _variables(listed: list[JSON]) -> dict[str, str]:
    """Read variables as the runtime-spec lists them."""
    return {name: value for name, _, value in (str(each).partition("=") for each in listed)}
