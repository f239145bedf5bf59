"""The description that a runtime gives of itself."""

import shutil
from pathlib import Path

from cri_api.v1 import api_pb2 as pb

from tests.support.conformance import HANDLERS, Serving
from tests.support.conformance_client import Cri
from vmsandbox.config import MACHINE_HANDLER


def test_no_field_of_the_version_is_empty(cri: Cri) -> None:
    version = cri.runtime.Version(pb.VersionRequest(version="0.1.0"))
    assert version.runtime_name == "vmsandbox"
    assert version.runtime_api_version == "v1"
    assert version.version and version.runtime_version


def test_the_runtime_and_its_network_are_ready(cri: Cri) -> None:
    conditions = cri.runtime.Status(pb.StatusRequest()).status.conditions
    assert {c.type: c.status for c in conditions} == {"RuntimeReady": True, "NetworkReady": True}


def test_handlers_are_listed_with_their_features(cri: Cri) -> None:
    handlers = cri.runtime.Status(pb.StatusRequest()).runtime_handlers
    assert {handler.name for handler in handlers} == {"", MACHINE_HANDLER, *HANDLERS}
    for handler in handlers:
        assert handler.features.recursive_read_only_mounts, handler.name
        assert handler.features.user_namespaces, handler.name


def test_the_policy_of_supplemental_groups_is_a_feature(cri: Cri) -> None:
    assert cri.runtime.Status(pb.StatusRequest()).features.supplemental_groups_policy


def test_a_verbose_status_has_more_to_say(cri: Cri) -> None:
    assert not cri.runtime.Status(pb.StatusRequest()).info
    assert cri.runtime.Status(pb.StatusRequest(verbose=True)).info


def test_the_kubelet_is_told_its_cgroup_driver(cri: Cri) -> None:
    assert cri.runtime.RuntimeConfig(pb.RuntimeConfigRequest()).linux.cgroup_driver == pb.CGROUPFS


def test_a_pod_cidr_is_accepted(cri: Cri) -> None:
    config = {"network_config": {"pod_cidr": "10.198.0.0/24"}}
    cri.runtime.UpdateRuntimeConfig(pb.UpdateRuntimeConfigRequest(runtime_config=config))


def test_the_file_system_of_images_is_real(cri: Cri, daemon: Serving) -> None:
    (usage,) = cri.images.ImageFsInfo(pb.ImageFsInfoRequest()).image_filesystems
    mountpoint = Path(usage.fs_id.mountpoint)
    assert mountpoint.is_mount() and daemon.directory.stat().st_dev == mountpoint.stat().st_dev
    assert usage.timestamp > 0
    assert 0 <= usage.used_bytes.value < shutil.disk_usage(mountpoint).total
