"""Checks before a container's limits are changed."""

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.cpus import parse_cpus
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures import Cgroup


def checked_cpus(cpus: str) -> str:
    """Return a list of CPUs as it is. Raises AgentError if it is not one."""
    try:
        parse_cpus(cpus)
    except ValueError as error:
        raise AgentError("invalid_argument", f"the list of CPUs is not valid: {error}") from None
    return cpus


def require_memory(resources: JSON, cgroup: Cgroup) -> JSON:
    """Check a new limit of memory where the host asks for that, and return the resources for crun.

    crun would count the cache of files as used, which the kernel drops to keep a limit (OCI runtime-spec,
    memory.checkBeforeUpdate).

    Raises:
        AgentError: the container uses more than the limit.
    """
    memory = resources.get("memory") if isinstance(resources, dict) else None
    if not isinstance(memory, dict) or not memory.get("checkBeforeUpdate"):
        return resources
    limit, used = memory.get("limit"), cgroup.unevictable()
    if isinstance(limit, int) and 0 < limit < used:
        raise AgentError(
            "failed_precondition",
            f"a limit of {limit} bytes of memory is less than the container uses: {used}, without its cache of files",
        )
    return {**resources, "memory": {name: value for name, value in memory.items() if name != "checkBeforeUpdate"}}
