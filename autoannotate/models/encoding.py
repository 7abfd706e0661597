"""Encoding: what the encoder sees in each image, from the cache where it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, fingerprint, read_image
from autoannotate.models.embedding_cache import EncodingCache, default_folder

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.models.encoder import Encoder

ENCODED_AT_ONCE = 256  # images between two commits to the cache: what an interruption costs at most


@dataclass(frozen=True)
class Encoded:
    """Images as the encoder sees them.

    Attributes
    ----------
    refs : list of N ImageRef
    embeddings : (N, D) float32 array
        In the space of the texts.
    features : (N, F) float32 array
    unreadable : list of (path, reason)
        The images that could not be read.
    """

    refs: list[ImageRef]
    embeddings: np.ndarray
    features: np.ndarray
    unreadable: list[tuple[str, str]]


def encode(
    found: Sequence[ImageRef], encoder: Encoder, cache: Path | str | bool = True, track: Track = silent
) -> Encoded:
    """Encode images, those that the cache does not know.

    Parameters
    ----------
    cache : folder, or True for the user's own cache folder, False for none.

    Raises
    ------
    InputError
        Where none of the images can be read.
    """
    folder = Path(cache) if not isinstance(cache, bool) else default_folder() if cache else None
    kept = EncodingCache(folder, encoder.weights_hash)
    keys: dict[ImageRef, str] = {}
    unreadable: dict[ImageRef, str] = {}
    for ref in found:
        try:
            keys[ref] = fingerprint(ref)
        except UnreadableImageError as error:
            unreadable[ref] = str(error)
    here = kept.known(list(keys.values()))
    todo = [ref for ref in keys if keys[ref] not in here]
    waiting = track(todo, "reading and encoding", len(todo))
    seen: list[ImageRef] = []

    def pictures() -> Iterator[Image.Image]:
        for ref in islice(waiting, ENCODED_AT_ONCE):
            try:
                image = read_image(ref)
            except UnreadableImageError as error:
                unreadable[ref] = str(error)
            else:
                seen.append(ref)
                yield image

    for _ in range(0, len(todo), ENCODED_AT_ONCE):
        first = len(seen)
        encodings = encoder.encode_images(pictures(), closer=True)
        kept.put([keys[ref] for ref in seen[first:]], encodings.embeddings, encodings.features)
    next(waiting, None)  # past the last image, so that the progress bar ends
    refs = [ref for ref in found if ref not in unreadable]
    if not refs:
        raise InputError(
            f"None of the {len(found)} images could be read. The first: {found[0].path}: {unreadable[found[0]]}"
        )
    embeddings, features = kept.get([keys[ref] for ref in refs])
    kept.close()
    return Encoded(refs, embeddings, features, [(ref.path, reason) for ref, reason in unreadable.items()])
