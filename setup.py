"""What pyproject.toml cannot say: a wheel holds the sources that the guest image is built from.

They lie in `vmsandbox/sources` as they lie in a checkout; `vmsandbox.guestimage.inputs` finds them in either.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CHECKOUT = Path(__file__).parent
SOURCES = ("agent/vmsandbox_agent", "guest-image", "vmsandbox/__init__.py", "vmsandbox/protocol")


class WithSources(build_py):
    """Copies them; an editable installation has the checkout."""

    def run(self) -> None:
        """Build as usual, and copy."""
        super().run()
        if not self.editable_mode:
            for source in SOURCES:
                self._copy(source)

    def _copy(self, source: str) -> None:
        """With the modes of the files, which are part of what names an image."""
        target = Path(self.build_lib) / "vmsandbox/sources" / source
        shutil.rmtree(target, ignore_errors=True)  # of a build before: a file that has gone since
        target.parent.mkdir(parents=True, exist_ok=True)
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / source, target)


setup(cmdclass={"build_py": WithSources})
