"""A small checkout for the hosts of a laboratory, whose setup command makes a stand-in of `vmsandbox`.

The stand-in takes the command line of the real one as far as the laboratory uses it, and writes what it was asked into
`calls` beside its checkout's directory.
"""

import json
import subprocess
from pathlib import Path

SETUP = ("sh", "setup.sh")

_SETUP = """\
set -e
echo "Setting up"
[ ! -e ../../hold ] || { touch ../../held; while [ -e ../../hold ]; do sleep 0.1; done; }
mkdir -p .venv/bin
for name in vmsandbox pytest python; do install -m 755 stand-in .venv/bin/$name; done
ln -sf /usr/bin/python3 .venv/bin/python3
"""

_STAND_IN = """\
#!/usr/bin/python3 -S
import os, pathlib, signal, sys, time
here = pathlib.Path(__file__).resolve().parents[2]
name, arguments = pathlib.Path(__file__).name, sys.argv[1:]
with (here.parents[1] / "calls").open("a") as calls:
    calls.write(f"{name} {arguments}\\n")
if name == "pytest":
    report = next(each for each in arguments if each.startswith("--junitxml=")).partition("=")[2]
    pathlib.Path(report).write_text("<testsuites/>")
    print("2 passed, 1 failed")
    sys.exit("fail" in arguments)
if name == "python":
    print("12 boots, 1.0 s each")
    sys.exit()
command = arguments[-3] if "check" in arguments else arguments[0]
if command == "check":
    sys.stdout.write((here / "check.json").read_text())
elif command == "pods":
    print('[{"id": "abc"}]' if "json" in arguments else "POD ID   NAME")
elif command == "inspect":
    sys.exit(not (here.parents[1] / "pods" / arguments[-1]).exists())
elif command in ("exec", "logs"):
    print("of", here.parents[1].parent.name, *arguments)
    sys.exit(5 if "false" in arguments else 0)
elif command == "serve":
    time.sleep(600)
elif command == "run":
    def end(number, frame):  # in the middle of a print, perhaps
        os.write(1, b"the pod ends\\n")
        os._exit(130)
    signal.signal(signal.SIGINT, end)
    text = sys.stdin.read()
    print("to stderr", file=sys.stderr, flush=True)  # Before what a test waits for.
    print(f"ran {len(text)} characters", flush=True)
    if "sleep" in text:
        time.sleep(600)
    sys.exit(3)
"""

CHECK = [
    {"title": "programs", "findings": [{"ok": True, "message": "/usr/bin/skopeo", "hint": ""}]},
    {"title": "accelerators", "findings": [
        {"ok": True, "message": "no guest runs under KVM: it does not boot", "hint": "x"},
        {"ok": True, "message": "a guest boots under TCG in 9.5 s", "hint": ""},
    ]},
]  # fmt: skip
"""The stand-in's output of `check --output json`; its second section has the words of `vmsandbox.node.check`."""


def make_checkout(directory: Path, check: object = CHECK) -> Path:
    """A git checkout in a new directory."""
    directory.mkdir()
    (directory / "setup.sh").write_text(_SETUP)
    (directory / "stand-in").write_text(_STAND_IN)
    (directory / "check.json").write_text(json.dumps(check))
    subprocess.run(["git", "init", "-q", str(directory)], check=True)
    subprocess.run(["git", "-C", str(directory), "add", "."], check=True)
    (directory / "untracked").write_text("a key, perhaps")
    return directory
