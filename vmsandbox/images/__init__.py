"""OCI images: pulled, kept, and merged into one read-only root image each."""

from vmsandbox.images.progress import PullPhase, PullProgress, Report
from vmsandbox.images.roots import RootImage
from vmsandbox.images.settings import ImageSettings, Platform
from vmsandbox.images.store import ImageStore, Usage

__all__ = ["ImageSettings", "ImageStore", "Platform", "PullPhase", "PullProgress", "Report", "RootImage", "Usage"]
