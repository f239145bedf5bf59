import json
from pathlib import Path

import pytest

from vmsandbox.errors import Internal, ResourceExhausted
from vmsandbox.network import PodIdentity
from vmsandbox.network.attachment import CniAttachment
from vmsandbox.network.attachment_store import AttachmentStore
from vmsandbox.network.config import NetworkList

NETWORK = NetworkList("pods", "1.0.0", ({"type": "bridge", "ipam": {"ranges": [[{"subnet": "10.0.0.0/8"}]]}},), "file")


def record(sandbox_id: str, result: object = None) -> CniAttachment:
    pod = PodIdentity(sandbox_id, "ns", "pod", "uid")
    return CniAttachment(pod, NETWORK, "/run/netns/x", {"portMappings": []}, result)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = AttachmentStore(tmp_path / "made" / "here")
    store.save(record("a.b-1"))
    store.save(record("a.b-1", {"ips": []}))
    assert store.load("a.b-1") == record("a.b-1", {"ips": []})
    assert store.list() == ("a.b-1",)


def test_a_deleted_record_is_gone_with_what_a_crash_left_of_it(tmp_path: Path) -> None:
    store = AttachmentStore(tmp_path)
    store.save(record("one"))
    (tmp_path / "one.new").write_text("{")
    store.delete("one")
    store.delete("one")
    assert store.load("one") is None and list(tmp_path.iterdir()) == []


def test_without_its_directory_there_are_no_records(tmp_path: Path) -> None:
    store = AttachmentStore(tmp_path / "none")
    assert store.list() == () and store.load("one") is None


@pytest.mark.parametrize("damaged", ['{"pod": 3, "format": 1}', "[]", "{", '{"format": 2}'])
def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "one.json").write_text(damaged)
    with pytest.raises(Internal, match=r"one\.json cannot be read"):
        AttachmentStore(tmp_path).load("one")


def test_a_record_says_its_format(tmp_path: Path) -> None:
    AttachmentStore(tmp_path).save(record("one"))
    assert json.loads((tmp_path / "one.json").read_text())["format"] == 1


def test_a_record_that_cannot_be_written_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceExhausted, match=r"one\.json: (File exists|Not a directory)"):
        AttachmentStore(tmp_path / "file").save(record("one"))
