"""The record of what a pod was attached with, so that DEL undoes it with the configuration that ADD used.

One JSON file per sandbox (docs/on-disk.md), written before the first plugin runs and again with the result.
"""

import json
from pathlib import Path

from vmsandbox import fs
from vmsandbox.errors import Internal, ResourceExhausted
from vmsandbox.fs.durable import replace_whole
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.network.attachment import CniAttachment
from vmsandbox.protocol import codec
from vmsandbox.protocol.codec import JSON

FORMAT = 1
"""Version of the records, written in each."""

_MOST = 16 * MEBIBYTE
"""Bytes of a record: a result has at most one MiB, a plugin's configuration as well."""


class AttachmentStore:
    """The directory of the records. A kill at any moment leaves a record before or after a change, never half."""

    def __init__(self, directory: Path) -> None:
        """Keep records in that directory, which `save` makes."""
        self._directory = directory

    def save(self, attachment: CniAttachment) -> None:
        """Write or replace the record of a sandbox. Raises ResourceExhausted where the disk does not take it."""
        path = self._path(attachment.pod.sandbox_id)
        try:
            self._write(path, json.dumps({"format": FORMAT, **codec.encode(attachment)}))
        except OSError as error:
            raise ResourceExhausted(
                f"cannot write the network record {path}: {error.strerror}",
                hint=f"see that {self._directory} is a directory with free space that root may write",
            ) from None

    def _write(self, path: Path, text: str) -> None:
        for directory in (self._directory.parent, self._directory):
            fs.make_directory(directory, 0o700)
        # A power cut ends the pod; a lease that it leaves is younger than the record.
        replace_whole(path, text.encode(), temporary=path.with_suffix(".new"), synced=False)

    def load(self, sandbox_id: str) -> CniAttachment | None:
        """The record of a sandbox, None where there is none. Raises Internal where it is damaged."""
        path = self._path(sandbox_id)
        try:
            return _decoded(json.loads(read_regular(path, _MOST)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Internal(
                f"the network record {path} cannot be read: {reason(error)}",
                hint="use the version that wrote it; or remove the file, and the pod's address stays taken",
            ) from None

    def delete(self, sandbox_id: str) -> None:
        """Forget a sandbox. Does nothing where there is no record."""
        for path in (self._path(sandbox_id), self._path(sandbox_id).with_suffix(".new")):
            path.unlink(missing_ok=True)

    def list(self) -> tuple[str, ...]:
        """The ids of all sandboxes that have a record."""
        return tuple(sorted(path.stem for path in self._directory.glob("*.json")))

    def _path(self, sandbox_id: str) -> Path:
        return self._directory / f"{sandbox_id}.json"


def _decoded(record: JSON) -> CniAttachment:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"it does not have the format {FORMAT} that this program reads")
    return codec.decode(CniAttachment, {key: value for key, value in record.items() if key != "format"})
