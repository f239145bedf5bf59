"""The findings of `vmsandbox check` about the delegate."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.config import DelegateConfig
from vmsandbox.cri.delegation.delegate import connected
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import Finding

ANSWER_TIMEOUT = 5.0
"""Seconds in which a runtime that lives says its version."""


async def look(config: DelegateConfig) -> tuple[Finding, ...]:
    """Whether the configured delegate answers, and what it is for; nothing where none is configured."""
    if config.socket is None:
        return ()
    try:
        async with connected(config.socket) as delegate:
            version = await delegate.call("Version", api.VersionRequest(), ANSWER_TIMEOUT)
    except VmsandboxError as error:
        return (Finding(False, str(error), error.hint),)
    return (Finding(True, f"{version.runtime_name} {version.runtime_version} runs {_whose(config)}"),)


def _whose(config: DelegateConfig) -> str:
    whose = [
        f"RuntimeClass handler {handler}" if handler else "pods without RuntimeClass" for handler in config.handlers
    ]
    if config.host_namespaces:
        wanted = "/".join(namespace.value for namespace in config.host_namespaces)
        whose.append(f"pods without RuntimeClass in the host's {wanted}")
    return ", ".join(whose) or "no pods"
