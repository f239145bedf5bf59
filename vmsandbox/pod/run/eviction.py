"""The sizeLimit of emptyDir volumes on disk: looked at from time to time, as the kubelet's eviction manager does."""

import asyncio

from vmsandbox.pod.api.volumes import EmptyDir, Medium
from vmsandbox.pod.run.volumes import PodVolumes
from vmsandbox.process import run

INTERVAL = 10.0
"""Seconds between two looks, the kubelet's housekeeping interval."""
_LOOK = 300.0


async def overflown(volumes: PodVolumes) -> str:
    """Wait until a volume holds more than its limit, and say which; for ever, where none has one."""
    limits = {
        name: volume.limit
        for name, volume in volumes.plan.volumes.items()
        if isinstance(volume, EmptyDir) and volume.medium is Medium.DEFAULT and volume.limit
    }
    while True:
        await asyncio.sleep(INTERVAL)
        for name, limit in limits.items():
            if await _used(volumes, name) > limit:
                return f"emptyDir volume {name} holds more than its limit of {limit} bytes"


async def _used(volumes: PodVolumes, name: str) -> int:
    """Bytes of disk; du(1) follows no link, and goes down as deep as a guest may have gone."""
    command = ["du", "--summarize", "--block-size=1", "--one-file-system", "--", str(volumes.path(name))]
    said = await run(command, timeout=_LOOK, check=False)  # files come and go meanwhile, which du takes for an error
    return int(said.stdout.split()[0]) if said.stdout else 0
