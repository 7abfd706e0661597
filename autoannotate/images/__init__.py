"""Find and read images. A format is a file here with a `Reader` and an entry in `registry`; a source is one in `sources`."""

from autoannotate.images.content import fetched_ahead
from autoannotate.images.reading import content_hash, fingerprint, read_grey, read_image, read_picture, stamp
from autoannotate.images.ref import Found, Grey, ImageRef, PassedOver, PassOver, Picture, Reader, mostly_passed_over
from autoannotate.images.sources import find, find_images, find_some, location

__all__ = [
    "Found",
    "Grey",
    "ImageRef",
    "PassOver",
    "PassedOver",
    "Picture",
    "Reader",
    "content_hash",
    "fetched_ahead",
    "find",
    "find_images",
    "find_some",
    "fingerprint",
    "location",
    "mostly_passed_over",
    "read_grey",
    "read_image",
    "read_picture",
    "stamp",
]
