"""Find and read images. A format is one file here, which makes a `Reader`, and one entry in `registry`."""

from autoannotate.images.find import find_images
from autoannotate.images.reading import fingerprint, read_grey, read_image, stamp
from autoannotate.images.ref import Grey, ImageRef

__all__ = ["Grey", "ImageRef", "find_images", "fingerprint", "read_grey", "read_image", "stamp"]
