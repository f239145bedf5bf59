"""vmsandbox image export-guest and import-guest."""

from pathlib import Path

from click.testing import CliRunner

from tests.fakes.guest_image import make_guest_image
from vmsandbox.cli.main import main
from vmsandbox.guestimage import agent_build, load_image


def _image(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["image", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_guest_image_goes_from_host_to_host_in_a_file(tmp_path: Path) -> None:
    image = make_guest_image(tmp_path / "built", key="0123456789abcdef")
    status, _, said = _image("export-guest", "--image", image.directory, tmp_path / "image.tar.zst")
    assert status == 0 and "its agent is the one of this version" in said
    status, printed, said = _image("import-guest", "--output", tmp_path / "images", tmp_path / "image.tar.zst")
    assert (status, printed) == (0, f"{tmp_path}/images/0123456789abcdef\n")
    assert f"guest image 0123456789abcdef: Debian trixie, kernel 6.12.1-cloud, agent {agent_build()}" in said
    assert load_image(tmp_path / "images/current").manifest == image.manifest


def test_an_import_says_that_the_agent_is_of_another_version(tmp_path: Path) -> None:
    image = make_guest_image(tmp_path / "built", key="0123456789abcdef", build="ancient")
    _image("export-guest", "--image", image.directory, tmp_path / "image.tar.zst")
    status, _, said = _image("import-guest", "--output", tmp_path / "images", tmp_path / "image.tar.zst")
    assert status == 0 and f"another version of vmsandbox (this one has {agent_build()})" in said


def test_a_file_that_is_not_an_archive_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no image")
    status, printed, said = _image("import-guest", "--output", tmp_path / "images", tmp_path / "file")
    assert (status, printed) == (1, "")
    assert f"{tmp_path}/file: it is not an archive of a guest image" in said


def test_what_cannot_be_written_or_is_not_there_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    image = make_guest_image(tmp_path / "built", key="0123456789abcdef")
    status, _, said = _image("export-guest", "--image", image.directory, tmp_path / "missing" / "file")
    assert status == 1 and f"cannot write the guest image to {tmp_path}/missing/file" in said
    status, _, said = _image("export-guest", "--image", tmp_path / "none", tmp_path / "file")
    assert status == 1 and "there is no guest image" in said
    assert not (tmp_path / "file").exists()
