"""A temporary directory through which others than root can pass to what they know the name of."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def passable_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="vmsandbox-tests-"))
    try:
        path.chmod(0o711)
        yield path
    finally:
        shutil.rmtree(path)
