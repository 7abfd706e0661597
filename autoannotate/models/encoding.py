"""Encoding: what the encoder sees in each image, from the cache where it is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from autoannotate._internal.ahead import ahead
from autoannotate._internal.progress import Track, silent
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, content_hash, fetched_ahead, fingerprint, read_image, read_picture
from autoannotate.labelling.neighbours import MANY
from autoannotate.models.cache_size import SIZE
from autoannotate.models.embedding_cache import EncodingCache, default_folder

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.images import Picture
    from autoannotate.models.encoder import Encoder

T = TypeVar("T")

TRIES = 3  # of encoding what another run has removed from the cache meanwhile
READERS = min(4, os.cpu_count() or 1)  # files that are read at once
ENCODED_AT_ONCE = 256  # images between two commits to the cache: what an interruption costs at most


class Engine(Protocol):
    """Encodes images by file name and keeps what is seen under their keys; what cannot be read joins `unreadable`."""

    def __call__(
        self,
        todo: Sequence[ImageRef],
        keys: Mapping[ImageRef, str],
        kept: EncodingCache,
        encoder: Encoder,
        unreadable: dict[ImageRef, str],
        track: Track,
    ) -> None: ...


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
    notes : mapping of str to str
        What was assumed to show a picture, by path, for those where something was.
    slices : Encoded or None
        The slices and frames of the items that have several, by themselves.
    """

    refs: list[ImageRef]
    embeddings: np.ndarray
    features: np.ndarray
    unreadable: list[tuple[str, str]]
    notes: Mapping[str, str] = field(default_factory=dict)
    slices: Encoded | None = None

    def readable_now(self) -> Encoded:
        """Those whose pictures can still be read.

        Raises
        ------
        InputError
            Where none can.
        """
        lost: dict[int, str] = {}
        for number, ref in enumerate(self.refs):
            try:
                read_image(ref)
            except UnreadableImageError as error:
                lost[number] = str(error)
        if len(lost) == len(self.refs):
            raise InputError(f"No image can be read any more. The first: {self.refs[0].path}: {lost[0]}")
        kept = [number for number in range(len(self.refs)) if number not in lost]
        gone = [(self.refs[number].path, reason) for number, reason in lost.items()]
        return replace(
            self, refs=[self.refs[number] for number in kept], embeddings=self.embeddings[kept],
            features=self.features[kept], unreadable=self.unreadable + gone,
        )  # fmt: skip

    def survived(self, then: Callable[[Encoded], T]) -> T:
        """`then(self)`; where a picture that was encoded, perhaps long ago, cannot be read any more, again without those."""
        try:
            return then(self)
        except UnreadableImageError as error:
            left = self.readable_now()
            if len(left.refs) == len(self.refs):
                raise InputError(
                    f"The pictures can be read at one time and not at another: {error} Try again."
                ) from None
        return left.survived(then)


def encode(
    found: Sequence[ImageRef],
    encoder: Encoder,
    cache: Path | str | bool = True,
    track: Track = silent,
    *,
    cache_size: int = SIZE,
    engine: Engine | None = None,
) -> Encoded:
    """Encode items, each one image or the mean of its slices; what the cache knows is not encoded again.

    Parameters
    ----------
    cache : folder, or True for the user's own cache folder, False for none.
    engine : who encodes, this process by default, or `autoannotate.models.encoding_ray`.
    cache_size : bytes that the cache may take; what was used longest ago goes first.

    Raises
    ------
    InputError
        Where none of the images can be read.
    """
    if all(len(ref.slices) == 1 for ref in found):
        return _encode_images(found, encoder, cache, track, cache_size, engine)
    return pooled(
        found, _encode_images([part for ref in found for part in ref.slices], encoder, cache, track, cache_size, engine)
    )


def pooled(items: Sequence[ImageRef], slices: Encoded) -> Encoded:
    """Items from their slices: the mean of the embeddings, at length 1, and of the features, at their usual length.

    A slice that could not be read is unreadable under its own path, and said in the note of its item, which goes on without
    it; an item of which none could be read is unreadable itself.
    """
    rows = {ref.path: row for row, ref in enumerate(slices.refs)}
    reasons = dict(slices.unreadable)
    kept: list[ImageRef] = []
    unreadable: list[tuple[str, str]] = []
    notes: dict[str, str] = {}
    embeddings, features = [], []
    for item in items:
        here = [rows[part.path] for part in item.slices if part.path in rows]
        if not here:
            unreadable.append((item.path, reasons[item.slices[0].path]))
            continue
        kept.append(item)
        embeddings.append(_mean(slices.embeddings[here]))
        features.append(_mean(slices.features[here]))
        said = [*(item.item.notes if item.item else ()), *(slices.notes.get(slices.refs[row].path, "") for row in here)]
        if lost := len(item.slices) - len(here):
            said.append(f"{lost:,} of {len(item.slices):,} slices could not be read.")
            unreadable += [(part.path, reasons[part.path]) for part in item.slices if part.path not in rows]
        if any(said):
            notes[item.path] = " ".join(dict.fromkeys(filter(None, said)))
    several = {part.path for ref in kept if len(ref.slices) > 1 for part in ref.slices}
    parts = [row for row, ref in enumerate(slices.refs) if ref.path in several]
    alone = Encoded([slices.refs[row] for row in parts], slices.embeddings[parts], slices.features[parts], [])
    return Encoded(kept, np.stack(embeddings), np.stack(features), unreadable, notes, alone)


def _mean(rows: np.ndarray) -> np.ndarray:
    """The mean of some vectors, as long as they are on average; (M, D) to (D,)."""
    if len(rows) == 1:
        return rows[0]
    mean = rows.mean(axis=0)
    return mean * (np.linalg.norm(rows, axis=1).mean() / max(float(np.linalg.norm(mean)), 1e-12))


def _encode_images(
    found: Sequence[ImageRef],
    encoder: Encoder,
    cache: Path | str | bool,
    track: Track,
    size: int,
    engine: Engine | None,
) -> Encoded:
    """Encode images one by one. Raises `InputError` where none of them can be read."""
    folder = Path(cache) if not isinstance(cache, bool) else default_folder() if cache else None
    kept = EncodingCache(folder, encoder.weights_hash, size)
    keys: dict[ImageRef, str] = {}
    unreadable: dict[ImageRef, str] = {}
    for ref in found:
        try:
            keys[ref] = fingerprint(ref)
        except UnreadableImageError as error:
            unreadable[ref] = str(error)
    for _ in range(TRIES):
        here = kept.known(list(keys.values()))
        todo = [ref for ref in keys if keys[ref] not in here and ref not in unreadable]
        if not todo:
            break
        (engine or encode_here)(todo, keys, kept, encoder, unreadable, track)
    refs = [ref for ref in found if ref not in unreadable]
    if not refs:
        kept.close()
        raise InputError(
            f"None of the {len(found)} images could be read. The first: {found[0].path}: {unreadable[found[0]]}"
        )
    kept.trim()
    asked = [keys[ref] for ref in refs]
    embeddings, said = kept.embeddings(asked), kept.notes(asked)
    features: Any = kept.stored(asked) if len(asked) > MANY else kept.features(asked)
    if len(asked) <= MANY:
        kept.close()
    lost = [(ref.path, reason) for ref, reason in unreadable.items()]
    return Encoded(refs, embeddings, features, lost, {ref.path: said[keys[ref]] for ref in refs if keys[ref] in said})


def encode_here(
    todo: Sequence[ImageRef],
    keys: Mapping[ImageRef, str],
    kept: EncodingCache,
    encoder: Encoder,
    unreadable: dict[ImageRef, str],
    track: Track,
) -> None:
    """Encode what the cache does not know, neither by its name nor by its content; what cannot be read joins `unreadable`."""
    waiting = track(fetched_ahead(todo), "reading and encoding", len(todo))
    seen: list[ImageRef] = []
    notes: dict[str, str] = {}
    contents: dict[str, str] = {}
    taken: set[str] = set()
    failed: dict[str, str] = {}
    copies: list[ImageRef] = []
    one = Lock()

    def read(ref: ImageRef) -> tuple[str, Picture | UnreadableImageError | None]:
        """The content of an image, and its picture; None where that is known, or read by another thread."""
        content = ""
        try:
            content = content_hash(ref)
            with one:
                copy = content in taken or bool(kept.recognise({keys[ref]: content}))
                taken.add(content)
            return content, None if copy else read_picture(ref, encoder.reads_at)
        except UnreadableImageError as error:
            return content, error

    def pictures() -> Iterator[Image.Image]:
        for ref, (content, picture) in ahead(islice(waiting, ENCODED_AT_ONCE), read, READERS):
            if isinstance(picture, UnreadableImageError):
                unreadable[ref] = failed[content] = str(picture)
                continue
            contents[keys[ref]] = content
            if picture is None:
                copies.append(ref)
            else:
                seen.append(ref)
                if picture.notes:
                    notes[keys[ref]] = " ".join(picture.notes)
                yield picture.image

    for _ in range(0, len(todo), ENCODED_AT_ONCE):
        encodings = encoder.encode_images(pictures(), closer=True)
        kept.put([keys[ref] for ref in seen], encodings.embeddings, encodings.features, notes, contents)
        for ref in copies:  # of a file that could not be read
            if (why := failed.get(contents[keys[ref]])) is not None:
                unreadable[ref] = why
        for each in (seen, notes, contents, taken, failed, copies):
            each.clear()
    next(waiting, None)  # past the last image, so that the progress bar ends
