"""Build the Debian package: `python packaging/deb.py DIRECTORY`, in the .venv of a checkout after `make setup`.

The package has what this host's checkout runs with: its Python packages, its helpers, its guest image. It is for the
release of Debian that it was built on. CONTRIBUTING.md, "Packages", says why it is made in this way.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from importlib.metadata import Distribution
from pathlib import Path

from dependencies import needed

from vmsandbox.guestimage import DEFAULT_DIRECTORY, agent_build, load_image
from vmsandbox.version import VERSION

CHECKOUT = Path(__file__).parents[1]
SITE = f"usr/lib/vmsandbox/lib/python3.{sys.version_info.minor}/site-packages"
HELPERS = Path("/var/cache/vmsandbox/bin")
MAINTAINER = os.environ.get("DEBMAINTAINER", "vmsandbox developers <vmsandbox@packages.invalid>")
_WIDTH = 76


def build(directory: Path) -> list[Path]:
    """Build the package into `directory`, and return its files."""
    with tempfile.TemporaryDirectory(prefix="vmsandbox-deb-") as workspace:
        source = Path(workspace) / f"vmsandbox-{VERSION}"
        debian = source / "debian"
        shutil.copytree(CHECKOUT / "packaging/debian", debian)
        _fill(debian / "control", MAINTAINER=MAINTAINER, DEPENDS=depends(), RECOMMENDS=", ".join(packages("guest")))
        (debian / "changelog").write_text(changelog(debian_version()))
        (debian / "copyright").write_text(copyright_file())
        environment = {**os.environ, "CHECKOUT": str(CHECKOUT), "GUEST_IMAGE": str(guest_image())}
        subprocess.run(["dpkg-buildpackage", "-b", "-us", "-uc"], cwd=source, env=environment, check=True)
        directory.mkdir(parents=True, exist_ok=True)
        made = [path for path in Path(workspace).iterdir() if path.is_file()]
        return [Path(shutil.copy(path, directory)) for path in sorted(made)]


def guest_image() -> Path:
    """Return the guest image that the package has: the present one, of this very checkout."""
    image = load_image(Path(os.environ.get("GUEST_IMAGE", DEFAULT_DIRECTORY / "current")))
    if image.manifest.build != agent_build():
        sys.exit(f"the agent in {image.directory} is of another version of vmsandbox: run vmsandbox image build-guest")
    return image.directory


def debian_version() -> str:
    """Name the release of Debian, too: the package of another one has other dependencies."""
    release = re.search(r'^VERSION_ID="?([0-9.]+)', Path("/etc/os-release").read_text(), re.MULTILINE)
    return os.environ.get("DEBVERSION") or f"{VERSION}+deb{release[1] if release else ''}"


def packages(use: str) -> list[str]:
    """Return the packages of those sections of setup/debian-packages.txt that are for `use`."""
    found, wanted = [], False
    for line in (CHECKOUT / "setup/debian-packages.txt").read_text().splitlines():
        if section := re.match(r"# (\w+): ", line):
            wanted = section[1] == use
        elif wanted and (name := line.partition("#")[0].strip()):
            found.append(name)
    return found


def depends() -> str:
    """Python is the one whose modules the package has; libvirtd comes with its units."""
    minor = sys.version_info.minor
    python = [f"python3 (>= 3.{minor})", f"python3 (<< 3.{minor + 1})", "libvirt-daemon-system"]
    virtiofsd = [] if (HELPERS / "virtiofsd").exists() else ["virtiofsd"]
    return ", ".join([*python, *packages("run"), *virtiofsd])


def changelog(version: str) -> str:
    """Return CHANGELOG.md's section of the present version, or of what is not released, as dpkg reads it."""
    text = (CHECKOUT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[([^]]+)\](?: - (\S+))?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    by_name = {name: (date, body) for name, date, body in sections}
    date, body = by_name.get(VERSION) or by_name["Unreleased"]
    items = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", body, re.MULTILINE)]
    wrapped = [textwrap.fill(item, _WIDTH, initial_indent="  * ", subsequent_indent="    ") for item in items]
    when = datetime.fromisoformat(date).replace(tzinfo=UTC) if date else _last_commit()
    lines = [f"vmsandbox ({version}) unstable; urgency=medium", "", *wrapped, ""]
    return "\n".join([*lines, f" -- {MAINTAINER}  {format_datetime(when)}"]) + "\n"


def _last_commit() -> datetime:
    command = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    return datetime.fromtimestamp(int(subprocess.run(command, check=True, stdout=-1).stdout), UTC)


def copyright_file() -> str:
    """Return the licences in the form of DEP 5: ours, and those of what the package has of others."""
    return (CHECKOUT / "packaging/debian/copyright").read_text() + "".join(map(_stanza, needed().values()))


def _stanza(package: Distribution) -> str:
    files = [file.parts for file in package.files or () if file.parts[0] != ".."]
    places = sorted({f"{SITE}/{first}/*" if rest else f"{SITE}/{first}" for first, *rest in files})
    metadata = package.metadata
    stated = metadata.get("License-Expression") or metadata.get("License") or next(_classified(package), "see below")
    name = re.sub(r"[^\w.+-]+", "-", stated.splitlines()[0])[:60]
    spaced = "\n ".join(places)
    author = metadata.get("Author") or metadata.get("Author-email") or f"the authors of {metadata['Name']}"
    licence = f"{name}-of-{metadata['Name']}"
    text = f" As {metadata['Name']} {metadata['Version']} states it; the texts are in {SITE}/{_information(package)}."
    return f"\nFiles: {spaced}\nCopyright: {' '.join(author.split())}\nLicense: {licence}\n{text}\n"


def _classified(package: Distribution) -> Iterator[str]:
    for classifier in package.metadata.get_all("Classifier", []):
        if classifier.startswith("License ::"):
            yield classifier.rpartition(" :: ")[2]


def _information(package: Distribution) -> str:
    return next(file.parts[0] for file in package.files or () if file.parts[0].endswith(".dist-info"))


def _fill(path: Path, **values: str) -> None:
    path.write_text(re.sub(r"@(\w+)@", lambda match: values[match[1]], path.read_text()))


if __name__ == "__main__":
    for path in build(Path(sys.argv[1])):
        sys.stdout.write(f"{path}\n")
