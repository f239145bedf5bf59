"""`python -m tests.released records COMMIT`, `agent COMMIT`: see the package. Needs the commit in this repository."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.released import HERE

CHECKOUT = HERE.parents[1]
AGENT = ("agent/vmsandbox_agent", "vmsandbox/__init__.py", "vmsandbox/protocol", "tests/__init__.py", "tests/guest")
NEEDED = ("tests/guest/__init__.py", "tests/guest/agent_on_host.py")


def keep(what: str, commit: str) -> None:
    """Write the records or the agent of a commit, named by its seven digits."""
    with tempfile.TemporaryDirectory(prefix="vmsandbox-released-") as directory:
        checkout = Path(directory)
        archived = subprocess.run(["git", "archive", commit], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "--extract", "--directory", directory], check=True, input=archived.stdout)
        if what == "records":
            (HERE / f"records-{commit}.json").write_text(_records(checkout))
        else:
            _zip_agent(checkout, HERE / f"agent-{commit}.zip")


def _records(checkout: Path) -> str:
    """Return the records that the commit's own code writes, run by this Python with its dependencies."""
    run = [sys.executable, str(HERE / "fill.py")]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    written = subprocess.run(run, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE).stdout
    return json.dumps(json.loads(written), indent=1, sort_keys=True) + "\n"


def _zip_agent(checkout: Path, target: Path) -> None:
    """The same bytes for the same commit: no times, sorted names."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for place in AGENT for path in _files(checkout / place)):
            name = str(path.relative_to(checkout))
            if not name.startswith("tests/guest/") or name in NEEDED:
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("*.py"))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("records" | "agent") as what, commit]:
            keep(what, commit[:7])
        case _:
            sys.exit(__doc__)
