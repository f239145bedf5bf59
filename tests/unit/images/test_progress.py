"""A pull that is watched."""

from pathlib import Path

from tests.support.cancelling import at_every_turn, ticks
from vmsandbox.images.store.blobs import Blobs
from vmsandbox.images.store.progress import silent, watching_progress


async def test_a_cancellation_is_not_lost_at_any_turn_of_a_download_that_is_watched(tmp_path: Path) -> None:
    async def download() -> None:
        async with watching_progress(Blobs(tmp_path), (), tmp_path, silent):
            await ticks(3)

    await at_every_turn(download)
