"""The images of a store as the CRI tells of them (runtime.v1 Image)."""

from vmsandbox import log
from vmsandbox.errors import NotFound, VmsandboxError
from vmsandbox.images.oci import Reference
from vmsandbox.images.store.index import ImageRecord
from vmsandbox.images.store.layout import StoreLayout
from vmsandbox.model import Image, ImageConfig

_log = log.get(__name__)


class Catalogue:
    """Reads the index anew for every answer, since other processes write it; remembers configurations."""

    def __init__(self, layout: StoreLayout) -> None:
        """Tell of the store that has this layout. Raises InvalidArgument where a pinned image's name is not valid."""
        self._layout = layout
        self._pinned = frozenset(str(Reference.parse(name)) for name in layout.settings.pinned)
        self._configs: dict[str, ImageConfig] = {}

    def all(self) -> tuple[Image, ...]:
        """All images; of one whose configuration is lost or damaged, what the index knows."""
        return tuple(self._listed(record) for record in self._layout.index.read().images)

    def find(self, name_or_id: str) -> ImageRecord | None:
        """The record of an image; None: not held. Raises InvalidArgument as `ImageStore.find`."""
        return self._layout.index.read().find(name_or_id)

    def record(self, name_or_id: str) -> ImageRecord:
        """The record of an image. Raises as `find`, and NotFound."""
        record = self.find(name_or_id)
        if record is None:
            raise NotFound(f"there is no image {name_or_id}", hint="pull or load it first")
        return record

    def current(self, record: ImageRecord) -> Image:
        """The image of a record, with all the names that the index has for it."""
        return self.image(self._layout.index.read().get(record.id) or record)

    def image(self, record: ImageRecord) -> Image:
        """The image of a record. Raises VmsandboxError where its configuration is lost or damaged."""
        if record.id not in self._configs:
            self._configs[record.id] = self._layout.config(record).run
        return self._described(record, self._configs[record.id])

    def forget(self, image_id: str) -> None:
        """Note that the image is not held any more."""
        self._configs.pop(image_id, None)

    def _listed(self, record: ImageRecord) -> Image:
        try:
            return self.image(record)
        except VmsandboxError as error:
            _log.warning("image %s is damaged: %s; remove it and pull it again", record.id, error)
            return self._described(record, ImageConfig())

    def _described(self, record: ImageRecord, config: ImageConfig) -> Image:
        size = self._layout.blobs.occupied(record.blobs) + self._layout.roots.occupied(record.chain_id)
        pinned = not self._pinned.isdisjoint(record.repo_tags + record.repo_digests)
        return Image(record.id, record.repo_tags, record.repo_digests, size, pinned, config)
