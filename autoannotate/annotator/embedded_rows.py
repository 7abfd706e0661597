"""Images that a file of embeddings stands for: its rows as if encoded here, where there is no picture to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.annotator.audit_items import ToAudit
from autoannotate.errors import InputError, UsageError
from autoannotate.images import Found, ImageRef
from autoannotate.images.items import Item
from autoannotate.models.embeddings_file import EmbeddingsFile, read_embeddings
from autoannotate.models.encoding import Encoded

if TYPE_CHECKING:
    from autoannotate.models.encoder import Encoder


def refs_of(file: Path | None, paths: Sequence[str]) -> list[ImageRef]:
    """The images of a run without pictures, by name."""
    where = Path() if file is None else file.parent
    return [ImageRef(path, where / path) for path in paths]


def all_rows(file: Path | None, encoder: Encoder | None) -> Encoded:
    """Every row of a file of embeddings, as if encoded here.

    Parameters
    ----------
    encoder : Encoder, optional
        Whose texts tell the classes; None where they are told by something else.

    Raises
    ------
    UsageError
        Where there is no file.
    InputError
        Where the embeddings are not of the encoder whose texts tell the classes.
    """
    given = _read(file)
    made = given.values.shape[1]
    if encoder is not None and made != encoder.embed_dim:
        raise InputError(
            f"The embeddings in {file} have {made:,} numbers each, and the texts of the model {encoder.name} have "
            f"{encoder.embed_dim:,}: name the CLIP model that made them with --model, or give the folder of the images too, or "
            "say what another model thinks of them with --probabilities."
        )
    return Encoded(refs_of(file, given.names), given.values, given.values, [])


def rows_of(file: Path | None, refs: Sequence[ImageRef]) -> Encoded:
    """The rows of some images, as if encoded here.

    Raises
    ------
    UsageError
        Where there is no file.
    InputError
        Where the file lacks some.
    """
    values = _read(file).of([ref.path for ref in refs])
    return Encoded(list(refs), values, values, [])


def to_audit_rows(file: Path | None) -> ToAudit:
    """The images that a file of embeddings names, as what is audited."""
    refs = all_rows(file, None).refs
    return ToAudit(Found(refs), refs, refs, [Item(ref.path, "image", (ref,)) for ref in refs], "image")


def _read(file: Path | None) -> EmbeddingsFile:
    if file is None:
        raise UsageError("Name the images to label, or embeddings that were made of them with --embeddings.")
    return read_embeddings(file)
