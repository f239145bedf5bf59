"""The steps of the kubelet's AtomicWriter (k8s.io/kubernetes, pkg/volume/util/atomic_writer.go)."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

KIND = "volumes/kubernetes.io~configmap"


def make_volume(below: Path, files: Mapping[str, str | bytes], name: str = "config", kind: str = KIND) -> Path:
    """A volume where a kubelet has it, below a directory of a test."""
    volume = below / "pods" / "0b5e1b1a-0000-4000-8000-000000000000" / kind / name
    volume.mkdir(parents=True)
    volume.chmod(0o777)
    write(volume, files)
    return volume


def write(volume: Path, files: Mapping[str, str | bytes], mode: int = 0o644) -> None:
    """Replace what the volume holds, as `AtomicWriter.Write` does in its steps."""
    data = volume / "..data"
    old = Path(os.readlink(data)) if data.is_symlink() else None
    version = volume / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.monotonic_ns() % 10**10}"
    version.mkdir(0o755)
    version.chmod(0o755)
    for path, content in files.items():
        (version / path).parent.mkdir(parents=True, exist_ok=True)
        (version / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        (version / path).chmod(mode)
    (volume / "..data_tmp").symlink_to(version.name)
    (volume / "..data_tmp").rename(data)
    names = {path.split("/")[0] for path in files}
    for each in names:
        if not (volume / each).is_symlink():
            (volume / each).symlink_to(f"..data/{each}")
    for present in list(volume.iterdir()):
        if not present.name.startswith("..") and present.name not in names:
            present.unlink()
    if old is not None:
        shutil.rmtree(volume / old)
