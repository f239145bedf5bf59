"""The part of libvirt's capabilities that domains depend on (formatcaps.html, formatdomaincaps.html)."""

from dataclasses import dataclass
from xml.etree import ElementTree as ET

_STRING_FEATURES = ("erms", "fsrm")
_NEWER_STRING_FEATURES = ("fzrm", "fsrs", "fsrc")
"""Known to QEMU 8.0 and later: naming one to an older QEMU is an error."""


@dataclass(frozen=True)
class Capabilities:
    """Drivers and programs of a libvirt."""

    security_models: tuple[str, ...] = ("dac",)
    """The security drivers (`secmodel`)."""
    qemu: str = ""
    """The path of the QEMU that runs domains."""
    qemu_version: int = 0
    """The version of that QEMU: major * 1,000,000 + minor * 1,000 + release (virConnectGetVersion)."""
    string_features: tuple[str, ...] = _STRING_FEATURES
    """The CPU features by which a CPU says that its string instructions are quick, of those that QEMU emulates."""

    @classmethod
    def of(cls, host: str, domains: str, qemu_version: int) -> "Capabilities":
        """Read libvirt's two documents.

        Args:
            host: the capabilities of the connection.
            domains: the capabilities of emulated domains.
            qemu_version: as in the result.
        """
        models = ET.fromstring(host).iterfind("host/secmodel/model")  # noqa: S314 - libvirt's own
        emulated = ET.fromstring(domains)  # noqa: S314 - libvirt's own
        features = {
            feature.get("name")
            for feature in emulated.iterfind("cpu/mode[@name='host-model']/feature[@policy='require']")
        }
        return cls(
            tuple(model.text for model in models if model.text),
            emulated.findtext("path", ""),
            qemu_version,
            (*_STRING_FEATURES, *(name for name in _NEWER_STRING_FEATURES if name in features)),
        )
