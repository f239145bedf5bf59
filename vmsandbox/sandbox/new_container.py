"""The record of a container that is going to be made: checked against its sandbox, and complete."""

import secrets
import time
from collections.abc import Collection
from pathlib import Path

from vmsandbox.errors import AlreadyExists, NotFound
from vmsandbox.images import ImageStore
from vmsandbox.model import ContainerConfig, NamespaceMode
from vmsandbox.state import ContainerRecord, SandboxRecord


def new_record(
    config: ContainerConfig, sandbox: SandboxRecord, others: Collection[ContainerRecord], images: ImageStore
) -> ContainerRecord:
    """A container with an id of its own, not made yet.

    Args:
        config: what was asked for.
        sandbox: where it is to be.
        others: the containers that are there, also those that are being made.
        images: where its image is.

    Raises:
        AlreadyExists: a container of that name and attempt is there.
        NotFound: the store does not hold its image; the container whose processes it is to share is not there.
    """
    _check_name_is_free(config, sandbox, others)
    _check_target(config, sandbox, others)
    image = images.find(config.image)
    if image is None:
        raise NotFound(f"image {config.image} is not in the store", hint=f"vmsandbox image pull {config.image}")
    return ContainerRecord(
        id=secrets.token_hex(16),
        sandbox_id=sandbox.id,
        config=config,
        image_id=image.id,
        image_ref=next(iter(image.repo_digests), image.id),
        image_config=image.config,
        created_at=time.time_ns(),
        log_path=str(Path(sandbox.config.log_directory) / config.log_path) if config.log_path else "",
    )


def _check_name_is_free(config: ContainerConfig, sandbox: SandboxRecord, others: Collection[ContainerRecord]) -> None:
    for other in others:
        if other.config.metadata == config.metadata:
            name, attempt = config.metadata.name, config.metadata.attempt
            raise AlreadyExists(f"sandbox {sandbox.id} has a container {name}, attempt {attempt}: {other.id}")


def _check_target(config: ContainerConfig, sandbox: SandboxRecord, others: Collection[ContainerRecord]) -> None:
    wanted = config.security.namespaces
    if wanted.pid is NamespaceMode.TARGET and wanted.target_id not in {other.id for other in others}:
        raise NotFound(f"sandbox {sandbox.id} has no container {wanted.target_id}, whose processes to share")
