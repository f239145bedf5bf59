"""The runtime-spec that a caller has made itself (`ContainerConfig.spec`), completed for the guest; pure functions.

Unlike one that is built here, it mounts nothing that its caller does not mount: an OCI runtime adds nothing either.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vmsandbox.errors import Internal
from vmsandbox.protocol import messages, paths
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.spec.container_mounts import MountSource

RECURSIVE = "rro"
"""The option of a read-only bind below which all that is mounted is read-only, too."""
READ_ONLY = frozenset({"ro", RECURSIVE})
"""The options of read-only binds."""


def complete_given_spec(spec: Mapping[str, Any], container_id: str, sources: Sequence[MountSource]) -> JSON:
    """Return the document with its place among the guest's cgroups, and with the sources of its binds.

    Args:
        spec: the caller's.
        container_id: names the cgroup.
        sources: of the binds without a source, in their order.

    Raises:
        Internal: there are more such binds than sources, or fewer.
    """
    remaining = iter(sources)
    mounts = [each for mount in spec.get("mounts", ()) for each in _sourced(mount, remaining)]
    if next(remaining, None) is not None:
        raise Internal(f"the runtime-spec of container {container_id} has fewer binds than its configuration")
    linux = {**spec.get("linux", {}), "cgroupsPath": f"{paths.POD_CGROUP}/{container_id}"}
    return {**spec, "root": {**spec.get("root", {}), "path": "rootfs"}, "mounts": mounts, "linux": linux}


def given_user(process: JSON) -> messages.User:
    """Return the user of a process that a caller has made (runtime-spec, `process.user`): numbers, and no others."""
    user = process.get("user") if isinstance(process, dict) else None
    found: Mapping[str, Any] = user if isinstance(user, dict) else {}
    groups = tuple(found.get("additionalGids", ()))
    return messages.User(f"{found.get('uid', 0)}:{found.get('gid', 0)}", "", groups, merge_image_groups=False)


def _sourced(mount: Mapping[str, Any], sources: Iterator[MountSource]) -> list[JSON]:
    """Return a mount with its source, and those that stay writable below a read-only one: later ones may cover them."""
    if mount.get("source"):
        return [dict(mount)]
    if (source := next(sources, None)) is None:
        raise Internal(f"the runtime-spec's mount at {mount['destination']} has no source")
    options = [option for option in mount.get("options", ()) if not (source.readonly and option == "rw")]
    if source.readonly and not READ_ONLY & set(options):
        options.append("ro")
    return [
        {**mount, "source": source.path, "options": options},
        *(_writable(mount, source, path, options) for path in source.writable if RECURSIVE not in options),
    ]


def _writable(mount: Mapping[str, Any], source: MountSource, path: str, options: Sequence[str]) -> JSON:
    kept = [option for option in options if option not in READ_ONLY]
    destination, found = f"{str(mount['destination']).rstrip('/')}/{path}", f"{source.path}/{path}"
    return {**mount, "destination": destination, "source": found, "options": [*kept, "rw"]}
