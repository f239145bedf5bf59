"""Runs in the guest's Python: adds compiled code to a zip of the agent's sources.

Reads a zip of sources from standard input and writes the agent's zip to standard output. Code is compiled by the very
Python that will run it, its source never checked again; entries are sorted, uncompressed and dated alike, so that the
same sources give the same bytes. The code of the agent's dataclasses is there as well: see its module `dataclass_code`.
"""

import importlib
import importlib._bootstrap_external as bootstrap
import importlib.util
import io
import sys
import tempfile
import zipfile

DATE = (1980, 1, 1, 0, 0, 0)
DATACLASSES = "vmsandbox_agent/dataclass_code.py"


def compiled(name: str, source: bytes) -> bytes:
    """The content of `name`'s .pyc, in the unchecked hash-based form of PEP 552."""
    code = compile(source, name, "exec", dont_inherit=True)
    return bytes(bootstrap._code_to_hash_pyc(code, importlib.util.source_hash(source), False))


def dataclass_code(sources: bytes) -> bytes:
    """Import the agent, and return the code that its dataclasses have compiled meanwhile."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(sources)
        file.flush()
        sys.path.insert(0, file.name)
        importlib.import_module("vmsandbox_agent.__main__")
        return bytes(importlib.import_module("vmsandbox_agent.dataclass_code").dump())


def pack(sources: bytes) -> bytes:
    """The agent's zip: each source, and beside it its code."""
    entries = {}
    with zipfile.ZipFile(io.BytesIO(sources)) as archive:
        for name in archive.namelist():
            entries[name] = archive.read(name)
            if name.endswith(".py"):
                entries[name + "c"] = compiled(name, entries[name])
    if DATACLASSES in entries:
        entries[DATACLASSES.removesuffix("py") + "bin"] = dataclass_code(sources)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, DATE), entries[name])
    return packed.getvalue()


if __name__ == "__main__":
    sys.stdout.buffer.write(pack(sys.stdin.buffer.read()))
