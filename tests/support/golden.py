"""Golden files: what a pure builder makes, compared whole. `UPDATE_GOLDEN=1 pytest` writes them anew, to review."""

import os
from pathlib import Path


def assert_golden(path: Path, text: str) -> None:
    """Fail unless the file at `path` (below the checkout) holds exactly `text`."""
    golden = Path(__file__).parents[2] / path
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), f"{path} differs; UPDATE_GOLDEN=1 writes it anew"
