"""Find and read images. A format is one file here, which makes a `Reader`, and one entry in `registry`."""

from autoannotate.images.find import find, find_images
from autoannotate.images.reading import fingerprint, read_grey, read_image, read_picture, stamp
from autoannotate.images.ref import Found, Grey, ImageRef, PassedOver, Picture

__all__ = [
    "Found",
    "Grey",
    "ImageRef",
    "PassedOver",
    "Picture",
    "find",
    "find_images",
    "fingerprint",
    "read_grey",
    "read_image",
    "read_picture",
    "stamp",
]
