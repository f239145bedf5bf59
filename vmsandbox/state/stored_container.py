"""The record of a container as it is on disk, made from the live one and back; see `stored_sandbox`."""

from dataclasses import dataclass, field

from vmsandbox.model import ContainerConfig, ContainerState, ContainerTimings, ContainerUser, ImageConfig, Resources
from vmsandbox.protocol.bounds import Count, Int32, Int64
from vmsandbox.state.records import ContainerRecord


@dataclass(frozen=True, slots=True)
class StoredContainerTimings:
    """`ContainerTimings`, in seconds."""

    created: float | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class StoredUser:
    """`ContainerUser`."""

    uid: Int64
    gid: Int64
    supplemental_groups: tuple[Int64, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredContainer:
    """`ContainerRecord`."""

    id: str
    sandbox_id: str
    config: ContainerConfig
    image_id: str
    image_ref: str
    image_config: ImageConfig
    created_at: Count
    log_path: str
    disks: dict[str, str] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    state: str = "unknown"
    started_at: Count = 0
    finished_at: Count = 0
    exit_code: Int32 = 0
    reason: str = ""
    message: str = ""
    user: StoredUser | None = None
    updating: Resources | None = None
    timings: StoredContainerTimings = field(default_factory=StoredContainerTimings)

    def restored(self) -> ContainerRecord:
        """Return the record. One whose state this version does not know is RUNNING: its guest knows better."""
        user = self.user
        return ContainerRecord(
            id=self.id,
            sandbox_id=self.sandbox_id,
            config=self.config,
            image_id=self.image_id,
            image_ref=self.image_ref,
            image_config=self.image_config,
            created_at=self.created_at,
            log_path=self.log_path,
            disks=self.disks,
            blocks=self.blocks,
            state=_STATES.get(self.state, ContainerState.RUNNING),
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            reason=self.reason,
            message=self.message,
            user=ContainerUser(user.uid, user.gid, user.supplemental_groups) if user else None,
            updating=self.updating,
            timings=ContainerTimings(self.timings.created, self.timings.started),
        )


_STATES = {state.value: state for state in ContainerState}


def stored_container(record: ContainerRecord) -> StoredContainer:
    """Return the form of a container on disk."""
    user = record.user
    return StoredContainer(
        id=record.id,
        sandbox_id=record.sandbox_id,
        config=record.config,
        image_id=record.image_id,
        image_ref=record.image_ref,
        image_config=record.image_config,
        created_at=record.created_at,
        log_path=record.log_path,
        disks=record.disks,
        blocks=record.blocks,
        state=record.state.value,
        started_at=record.started_at,
        finished_at=record.finished_at,
        exit_code=record.exit_code,
        reason=record.reason,
        message=record.message,
        user=StoredUser(user.uid, user.gid, user.supplemental_groups) if user else None,
        updating=record.updating,
        timings=StoredContainerTimings(record.timings.created, record.timings.started),
    )
