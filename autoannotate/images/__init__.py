"""Find and read images. A format is one file here, which makes a `Reader`, and one entry in `registry`."""

from autoannotate.images.find import find_images
from autoannotate.images.reading import fingerprint, read_image
from autoannotate.images.ref import ImageRef

__all__ = ["ImageRef", "find_images", "fingerprint", "read_image"]
