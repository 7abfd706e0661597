"""Embeddings and probabilities that another model made, read from a file and checked against the images."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import counted, listed
from autoannotate.errors import InputError

CHECKED = 65_536  # rows looked at together
SUMS_TO_ONE = 0.01  # a row of probabilities may miss one by this much, from rounding


@dataclass(frozen=True, eq=False)
class EmbeddingsFile:
    """Embeddings of N images by path.

    Parameters
    ----------
    paths : tuple of str, optional
        None for a .npy file, whose rows are the images in path order.
    values : ndarray of shape (N, D)
        float32, all finite.
    """

    paths: tuple[str, ...] | None
    values: NDArray[np.float32]

    def of(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """The rows of some images, in their order.

        Raises
        ------
        InputError
            Naming those that have none.
        """
        if self.paths is None:
            if len(paths) != len(self.values):
                raise InputError(
                    f"The embeddings have {counted(len(self.values), 'row')} and there are {counted(len(paths), 'image')}: a "
                    ".npy file needs a row an image in path order; an .npz with the arrays path and embedding names them."
                )
            return self.values
        row = {path: i for i, path in enumerate(self.paths)}
        if missing := [path for path in paths if path not in row]:
            raise InputError(
                f"{counted(len(missing), 'image')} without an embedding: {listed(missing, 3)}. Add them to the file, or "
                "take them out of the images."
            )
        return self.values[[row[path] for path in paths]]

    @property
    def names(self) -> tuple[str, ...]:
        """The paths, or row-1, row-2 … with as many digits as it takes where the file has none."""
        width = len(str(len(self.values)))
        return self.paths or tuple(f"row-{row:0{width}d}" for row in range(1, len(self.values) + 1))

    def unknown(self, paths: Sequence[str]) -> list[str]:
        """Paths in the file that are no image here."""
        return [] if self.paths is None else sorted(set(self.paths) - set(paths))


def read_embeddings(file: Path) -> EmbeddingsFile:
    """Read embeddings.

    Parameters
    ----------
    file : Path
        An .npz with the arrays `path` (N,) and `embedding` (N, D); a .npy (N, D); or a .parquet with the columns `path` and
        `embedding` (a list a row), or `path` and a column a dimension.

    Raises
    ------
    InputError
        The file is none of these, a path comes twice, lengths differ, or a number is not finite; with the first rows.
    """
    try:
        if file.is_file() and not file.stat().st_size:
            raise InputError(f"{file} is empty.")
        found = _read(file)
    except FileNotFoundError:
        raise InputError(f"There is no file {file}: check its name.") from None
    except (OSError, ValueError, KeyError, EOFError, SyntaxError, TokenError, BadZipFile, zlib.error) as error:
        why = (
            "it is damaged, or of another kind"
            if _damaged(error)
            else str(error.args[0] if error.args else error)[:120]
        )
        raise InputError(f"{file} cannot be read as embeddings ({why}): write it again.") from None
    paths, raw = found
    if isinstance(raw, np.ndarray) and np.iscomplexobj(raw):
        raise InputError(f"The embeddings in {file} are complex numbers: give their real parts, or their sizes.")
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told below
            values = np.asarray(raw, dtype=np.float32)
    except (TypeError, ValueError):
        odd = _of_other_length(raw, paths)
        raise InputError(f"The embeddings in {file} are not numbers of one length each{odd}.") from None
    if values.ndim != 2 or not values.size:
        raise InputError(f"The embeddings in {file} have the shape {values.shape}: it must be a row an image.")
    if paths is not None and len(paths) != len(values):
        raise InputError(f"{file} has {len(paths):,} paths and {len(values):,} embeddings: each image needs one.")
    if paths is not None and (unnamed := [i + 1 for i, path in enumerate(paths) if path in ("", "None", "nan")]):
        raise InputError(f"{file} has embeddings without a path: row {listed([str(row) for row in unnamed], 3)}.")
    if paths is not None and len(set(paths)) < len(paths):
        seen: set[str] = set()
        twice = [path for path in paths if path in seen or seen.add(path)]  # type: ignore[func-returns-value]
        raise InputError(f"{file} has more than one embedding of {listed(twice, 3)}.")
    finite = [np.isfinite(values[start : start + CHECKED]).all(axis=1) for start in range(0, len(values), CHECKED)]
    if len(bad := np.flatnonzero(~np.concatenate(finite))):
        names = [f"row {row + 1}" if paths is None else paths[row] for row in bad[:3]]
        raise InputError(
            f"{file} has NaN or infinity in {counted(len(bad), 'embedding')}: {listed(names, 3)}. Compute them again, or leave "
            "out these images and their embeddings."
        )
    if len(values) > 1 and (values[:CHECKED] == values[0]).all() and (values == values[0]).all():
        raise InputError(f"All embeddings in {file} are the same: they cannot tell images apart. Compute them again.")
    return EmbeddingsFile(None if paths is None else tuple(paths), values)


def _damaged(error: Exception) -> bool:
    """Whether a file is broken, or its bytes are of another kind: NumPy then advises to load it unsafely."""
    return isinstance(error, SyntaxError | TokenError | BadZipFile | zlib.error) or "pickle" in str(error)


def _of_other_length(raw: object, paths: Sequence[str] | None) -> str:
    """Which rows are not as long as most are, or hold no numbers: ": b.png (3)", or ""."""
    if not isinstance(raw, list) or paths is None:
        return ""
    lengths = [np.size(row) if row is not None else 0 for row in raw]
    usual = max(set(lengths), key=lengths.count)
    odd = [f"{path} ({n:,})" for path, n in zip(paths, lengths, strict=False) if n != usual]
    return f": most have {usual:,}, but {listed(odd, 3)}" if odd else ""


def _read(file: Path) -> tuple[list[str] | None, object]:
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return None, np.load(file, allow_pickle=False, mmap_mode="r")
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as held:
            for name in ("path", "embedding"):
                if name not in held:
                    raise KeyError(f"it has no array {name}; it has {listed(held.files)}")
            try:
                names = np.char.decode(held["path"], "utf-8") if held["path"].dtype.kind == "S" else held["path"]
                return [str(path) for path in names], held["embedding"]
            except ValueError as error:
                if "Object arrays" not in str(error):
                    raise
                raise InputError(
                    f"{file} holds Python objects, which could run code and are not read: save the paths as text and the "
                    "embeddings as numbers, np.savez(FILE, path=np.array(PATHS, dtype=str), embedding=np.stack(ROWS))."
                ) from None
    if suffix == ".parquet":
        import pandas as pd

        try:
            table = pd.read_parquet(file)
        except ImportError:
            raise InputError("Parquet needs one more package: pip install 'autoannotate[parquet]'.") from None
        if "path" not in table:
            raise KeyError("it has no column path")
        others = table.drop(columns="path")
        if not len(others.columns):
            raise KeyError("it has no column embedding, nor one a dimension")
        if "embedding" not in table and (
            text := [name for name in others if not pd.api.types.is_numeric_dtype(others[name])]
        ):
            raise KeyError(f"its column {text[0]} holds no numbers, and there is no column embedding")
        rows = table["embedding"].tolist() if "embedding" in table else others.to_numpy()
        return [str(path) for path in table["path"]], rows
    raise InputError(f"{file} is not an .npz, .npy or .parquet file, which embeddings are read from.")


def check_probabilities(
    values: NDArray[np.floating], paths: Sequence[str], classes: Sequence[str], name: str
) -> NDArray[np.float64]:
    """Probabilities (N, K) whose rows sum to one exactly.

    Raises
    ------
    InputError
        Naming the rows that do not within 0.01.

    Examples
    --------
    >>> check_probabilities(np.array([[0.2, 0.8]]), ["a.png"], ["x", "y"], "p.csv").tolist()
    [[0.2, 0.8]]
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(paths), len(classes)):
        raise InputError(f"{name} needs a row an image and a column a class ({listed(classes)}).")
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1)
    if bad.any():
        raise InputError(
            f"{counted(int(bad.sum()), 'row')} of {name} hold what is no probability of each class, a number from 0 to 1: "
            f"{listed([paths[i] for i in np.flatnonzero(bad).tolist()], 3)}."
        )
    total = values.sum(axis=1)
    if (off := np.flatnonzero(np.abs(total - 1) > SUMS_TO_ONE)).size:
        told = [f"{paths[i]} ({total[i]:.3g})" for i in off.tolist()]
        do = "does" if len(off) == 1 else "do"
        raise InputError(f"{counted(len(off), 'row')} of {name} {do} not sum to one: {listed(told, 3)}.")
    return values / total[:, None]
