"""Errors of crun, recorded in guests, as runc says them: docker looks for these words."""

import pytest

from vmsandbox.oci_command.phrases import as_runc

START = "unable to start container process: "


@pytest.mark.parametrize(
    ("crun", "runc"),
    [
        (
            "container 62f6: crun create: executable file `nothing` not found in $PATH: No such file or directory",
            f'{START}container 62f6: exec: "nothing": executable file not found in $PATH',
        ),
        (
            "crun exec: executable file `/nope` not found: No such file or directory",
            f'{START}exec: "/nope": stat /nope: no such file or directory',
        ),
        (
            "crun exec: the path `/etc/passwd` exists but it is not executable: Operation not permitted",
            f'{START}exec: "/etc/passwd": permission denied',
        ),
        (
            "crun exec: chdir to `/nodir`: No such file or directory",
            f'{START}chdir to cwd ("/nodir") set in config.json failed: no such file or directory',
        ),
        ("there is no container c1", "there is no container c1"),
    ],
)
def test_a_failure_to_start_has_the_words_of_runc(crun: str, runc: str) -> None:
    assert as_runc(crun) == runc
