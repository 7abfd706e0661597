"""Encoding on many machines (on one: `autoannotate.models.encoding`): Ray Data deals out the images, its actors encode them.

The actors write Parquet, which goes into the cache: all after encoding is as on one machine. Scheduling, retries, back-pressure
and memory are Ray's. Nothing here is imported unless `--engine ray` was asked for.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Track
from autoannotate._internal.version import __version__
from autoannotate.errors import InputError, ModelError, OutputError, UnreadableImageError
from autoannotate.images import ImageRef, content_hash, fetched_ahead, read_picture
from autoannotate.models.embedding_cache import EncodingCache, default_folder
from autoannotate.models.encoder import Encoder, load_encoder

if TYPE_CHECKING:
    from PIL import Image

BATCH = 32  # images that an actor encodes between two answers
A_FILE = 1024  # images of a Parquet file at most: what a driver that is killed loses is at most one for each actor
FILES_AN_ACTOR = 4  # at least, so that all end at about the same time
REACHED_WITHIN = 5.0  # seconds
WRITING = 0.25  # of a CPU; an actor has the rest, so that encoding on all CPUs leaves room to write
INSTALL = f"pip install 'autoannotate[ray,cloud]=={__version__}'"


@dataclass(frozen=True)
class RayEngine:
    """Encodes with the cluster that RAY_ADDRESS names, or all cores of this machine, see `models.encoding.Engine`.

    Parameters
    ----------
    store : str, optional
        Where the actors write: a folder that every machine sees, or a URL that pyarrow knows (s3://, gs://). What it has
        from an earlier call is not encoded again. By default a folder in the cache that is removed at the end.
    """

    store: str | None = None

    def __call__(
        self,
        todo: Sequence[ImageRef],
        keys: Mapping[ImageRef, str],
        kept: EncodingCache,
        encoder: Encoder,
        unreadable: dict[ImageRef, str],
        track: Track,
    ) -> None:
        """Encode images and keep what is seen; what cannot be read joins `unreadable`.

        Raises
        ------
        ModelError
            Where Ray is not installed or its cluster cannot be reached, or a worker fails.
        InputError
            Where a worker does not see a file, or an image is no plain file.
        """
        content_of = {keys[ref]: _packed(ref) for ref in todo}
        own = (kept.folder or default_folder()) / f"parts-{encoder.weights_hash[:12]}"
        store = self.store or str(own.absolute())
        ref_of = {keys[ref]: ref for ref in todo}
        done = self._fold(store, ref_of, kept, unreadable, last=False)
        left = [ref for ref in todo if keys[ref] not in done]
        if left:
            rows = [
                {
                    "key": keys[ref],
                    "file": str(ref.file if content_of[keys[ref]] else ref.file.absolute()),
                    "frame": -1 if ref.frame is None else ref.frame,
                    "content": content_of[keys[ref]],
                }
                for ref in left
            ]
            with _cluster() as ray:
                _encode(ray, rows, encoder, store)
            self._fold(store, {keys[ref]: ref for ref in left}, kept, unreadable, last=True)
        if self.store is None:
            shutil.rmtree(own, ignore_errors=True)

    def _fold(
        self, store: str, ref_of: Mapping[str, ImageRef], kept: EncodingCache,
        unreadable: dict[ImageRef, str], *, last: bool,
    ) -> set[str]:  # fmt: skip
        """Put what the store holds of the images into the cache; the keys of these. Those not read join `unreadable`.

        last : False while what a machine could not see may be tried again
        """
        done: set[str] = set()
        lost: dict[str, dict[str, Any]] = {}
        for rows in _stored(store):
            for row in rows:
                if row["problem"] and row["key"] in ref_of and not (row["missing"] and row["key"] in lost):
                    lost[row["key"]] = row
            good = [row for row in rows if not row["problem"] and row["key"] in ref_of]
            if good:
                kept.put(
                    [row["key"] for row in good],
                    np.stack([np.frombuffer(row["embedding"], np.float32) for row in good]),
                    np.stack([np.frombuffer(row["features"], np.float32) for row in good]),
                    {row["key"]: row["note"] for row in good if row["note"]},
                    {row["key"]: row["content"] for row in good},
                )
            done |= {row["key"] for row in good}
        for key, row in lost.items():
            ref = ref_of[key]
            if key in done or (not last and (row["missing"] or ref.content is not None)):
                continue
            if row["missing"] and ref.file.exists():
                raise InputError(
                    f"The machine {row['machine']} does not see {ref.path}, and this one does: put the images on a disk "
                    "that all machines mount under the same path, and run the same command again."
                )
            unreadable[ref] = row["problem"]
            done.add(key)
        return done


class Encode:
    """An actor: reads and encodes batches of files with a model of its own.

    Parameters
    ----------
    model, device : str
        See `load_encoder`.
    weights_hash : str
        Of the driver's model: another one must not be mixed in.
    """

    def __init__(self, model: str, device: str, weights_hash: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._encoder = load_encoder(model, device)
        if self._encoder.weights_hash != weights_hash:
            raise ModelError(f"The machine {_machine()} has other weights of the model {model} than the driver.")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns key, file, frame and content (pickled) of B images to what is seen in each, or why not."""
        notes, contents, problems, gone = ([""] * len(batch["key"]) for _ in range(4))
        seen: list[int] = []
        refs = [
            ImageRef(
                Path(file).name,
                Path(file),
                None if frame < 0 else int(frame),
                pickle.loads(content) if content else None,
            )
            for file, frame, content in zip(batch["file"], batch["frame"], batch["content"], strict=True)
        ]

        def pictures() -> Iterator[Image.Image]:
            for i, ref in enumerate(fetched_ahead(refs)):
                try:
                    contents[i] = content_hash(ref)
                    picture = read_picture(ref, self._encoder.reads_at)
                except UnreadableImageError as error:
                    problems[i], gone[i] = str(error), "" if ref.content or ref.file.exists() else "gone"
                    continue
                seen.append(i)
                notes[i] = " ".join(picture.notes)
                yield picture.image

        found = self._encoder.encode_images(pictures(), closer=True)
        embeddings, features = [b""] * len(notes), [b""] * len(notes)
        for i, embedding, feature in zip(seen, found.embeddings, found.features, strict=True):
            embeddings[i], features[i] = embedding.tobytes(), feature.tobytes()
        return {
            "key": batch["key"], "embedding": embeddings, "features": features, "note": notes, "content": contents,
            "problem": problems, "missing": [bool(each) for each in gone], "machine": [_machine()] * len(notes),
        }  # fmt: skip


def _packed(ref: ImageRef) -> bytes:
    """What another machine reads an image by that is at a URL; nothing of a plain file. Raises `InputError`."""
    try:
        return b"" if ref.content is None else pickle.dumps(ref.content)
    except (AttributeError, TypeError, pickle.PicklingError):
        raise InputError(
            f"--engine ray reads files and URLs that every machine sees, and {ref.path} is in an archive or a PACS: unpack or "
            "fetch it to a shared disk or a bucket first."
        ) from None


def _encode(ray: Any, rows: list[dict[str, Any]], encoder: Encoder, store: str) -> None:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if encoder.device.type == "cuda" else 0
    actors = max(1, gpus or int(resources.get("CPU", 1)))
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    files = max(1, min(len(rows), max(-(-len(rows) // A_FILE), FILES_AN_ACTOR * actors)))
    try:
        ray.data.from_items(rows, override_num_blocks=files).map_batches(
            Encode, batch_size=BATCH, concurrency=(1, actors), num_cpus=1.0 - WRITING, num_gpus=1 if gpus else 0,
            fn_constructor_args=(encoder.name, "cuda" if gpus else "cpu", encoder.weights_hash, 1),
        ).write_parquet(store, ray_remote_args={"num_cpus": WRITING})  # fmt: skip
    except Exception as error:  # of Ray, of a worker, of the store: each has classes of its own
        raise _plain(error, store) from None


def _plain(error: Exception, store: str) -> InputError | ModelError | OutputError:
    """The sentence for what went wrong on the cluster."""
    said = str(error)
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), type(error).__name__)[:200]
    at = re.search(r"\bip=([\w.:]+)", said)
    machine = f"The machine {at[1]}" if at else "A machine of the cluster"
    if package := re.search(r"No module named '?([\w.]+)", said):
        return ModelError(f"{machine} lacks the package {package[1]}: run {INSTALL} on each of them.")
    if "other weights of the model" in said:
        return ModelError(f"{last} Install the same version and weights on each machine.")
    if "object store is full" in said:  # ObjectStoreFullError, OutOfDiskError
        room = "its object store and its disk have" if "disk" in said else "its object store has"
        return ModelError(
            f"{machine} cannot hold what is encoded: {room} no room left. Start Ray there with a larger --object-store-memory, "
            "or end what else holds it (`ray memory` tells), and run the same command again: what was encoded is kept."
        )
    if "OutOfMemory" in said:
        return ModelError(f"{machine} ran out of memory ({last}): use fewer CPUs on it (ray start --num-cpus).")
    if isinstance(error, OSError):
        return OutputError(f"The machines cannot write to {store} ({last}): name a place that all see with --store.")
    return ModelError(
        f"The cluster stopped encoding ({last}). What was encoded is kept: run the same command to go on."
    )


def _stored(store: str) -> Iterator[list[dict[str, Any]]]:
    """The rows in the Parquet files of the store, some at a time; a file that is not whole is passed over."""
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet

    try:
        system, path = (
            pyarrow.fs.FileSystem.from_uri(store) if "://" in store else (pyarrow.fs.LocalFileSystem(), store)
        )
        found = system.get_file_info(pyarrow.fs.FileSelector(path, recursive=True, allow_not_found=True))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"The place {store} cannot be read ({str(error)[:200]}): name another with --store."
        ) from None
    for file in sorted(each.path for each in found if each.is_file and each.path.endswith(".parquet")):
        try:
            with system.open_input_file(file) as stream:
                for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(A_FILE):
                    yield batch.to_pylist()
        except pyarrow.ArrowInvalid:
            continue


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected to the cluster that RAY_ADDRESS names, else started on this machine for as long as the block takes."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise ModelError(f"--engine ray needs one more package: {INSTALL}.") from None
    address = os.environ.get("RAY_ADDRESS")
    started = not ray.is_initialized()
    if started and address:
        _answers(address)
    if started:
        for handler in logging.getLogger("ray.data").handlers:
            if isinstance(
                handler, logging.StreamHandler
            ):  # what goes wrong is said in a sentence; its files keep the traces
                handler.setLevel(logging.CRITICAL + 1)
        try:
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
            ray.init(**quiet) if address else ray.init(include_dashboard=False, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            if "AuthToken" in str(error):
                raise ModelError(
                    f"The Ray cluster at {address or 'this machine'} asks for its token: set RAY_AUTH_MODE=token and "
                    "RAY_AUTH_TOKEN as on its first machine."
                ) from None
            raise ModelError(
                f"The Ray cluster at {address or 'this machine'} cannot be reached ({str(error).splitlines()[0][:160]}): check "
                "RAY_ADDRESS (`local` starts one here) and that `ray status` works, or leave --engine ray out."
            ) from None
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def _answers(address: str) -> None:
    """Make sure that something listens there: Ray itself would try for minutes. Raises `ModelError`."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():  # auto, local: Ray knows
        return
    try:
        with socket.create_connection((host, int(port)), timeout=REACHED_WITHIN):
            pass
    except OSError as error:
        raise ModelError(
            f"The Ray cluster at {address} cannot be reached ({error.strerror or error}): check RAY_ADDRESS and that "
            "`ray status` works here, or leave --engine ray out."
        ) from None


def _machine() -> str:
    return socket.gethostname()
