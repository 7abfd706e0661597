"""Real images with a known truth for `autoannotate demo`: MedMNIST if it can be had, else pydicom's files."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.images.quiet import quiet

_MEDMNIST_SETS = {"chest": "pneumoniamnist", "breast": "breastmnist"}
_MEDMNIST_MOST = 300
_NETWORK_SECONDS = 8.0

_RADIOGRAPHY = ("CR", "DX", "DR", "RG")
_CLASS_OF_MODALITY = {"CT": "CT", "MR": "MRI", "US": "ultrasound", **dict.fromkeys(_RADIOGRAPHY, "X-ray")}
_SMALLEST_SIDE = 64


@dataclass(frozen=True)
class DemoSet:
    """A folder of images whose classes are known.

    Attributes:
        name: "medmnist" or "pydicom".
        folder: where the images are, and nothing else.
        classes: class names, as they are given to the annotator.
        truth: the class of each image, by the path that `find_images(folder)` gives it.
        source: one sentence that says what the images are and where they come from.
    """

    name: str
    folder: Path
    classes: tuple[str, ...]
    truth: dict[str, str]
    source: str


def demo_set(folder: Path, seed: int = 0) -> DemoSet:
    """MedMNIST if it is on this machine or can be had within seconds, else the files that pydicom brings."""
    return medmnist_demo_set(folder, seed=seed) or pydicom_demo_set(folder)


def medmnist_demo_set(folder: Path, seed: int = 0, root: Path | None = None) -> DemoSet | None:
    """Chest X-rays (PneumoniaMNIST) and breast ultrasound (BreastMNIST), the test splits, at 28 × 28 pixels.

    At most 300 of each are drawn by `seed` and written as PNG files to `folder`/medmnist.

    Args:
        root: where the `medmnist` package keeps its files; its own choice (~/.medmnist) if None.

    Returns:
        None if the files are not there and cannot be had: within ten seconds where there is no network.

    Raises:
        OutputError: the folder cannot be written, or holds other files.
    """
    import medmnist

    root = root or Path(medmnist.dataset.DEFAULT_ROOT or folder)
    rng = np.random.default_rng(seed)
    truth: dict[str, str] = {}
    images: dict[str, np.ndarray] = {}
    for name, flag in _MEDMNIST_SETS.items():
        test_split = _medmnist_test_split(flag, root)
        if test_split is None:
            return None
        for index in rng.permutation(len(test_split))[:_MEDMNIST_MOST]:
            path = f"{flag}-test-{index:03d}.png"
            images[path], truth[path] = test_split[index], name

    def write(target: Path) -> None:
        for path, pixels in images.items():
            Image.fromarray(pixels).save(target / path)

    source = (
        "MedMNIST v2 (Yang et al. 2023, CC BY 4.0), test splits at 28 × 28 pixels: "
        "chest X-rays from PneumoniaMNIST and breast ultrasound from BreastMNIST."
    )
    target = _made(folder / "medmnist")
    _fill(target, truth, write)
    return DemoSet("medmnist", target, tuple(_MEDMNIST_SETS), truth, source)


def _medmnist_test_split(flag: str, root: Path) -> np.ndarray | None:
    """Images of the test split, (N, 28, 28) uint8; None if they cannot be had."""
    import medmnist
    from torchvision.datasets.utils import check_integrity

    info = medmnist.INFO[flag]
    if not check_integrity(root / f"{flag}.npz", info["MD5"]) and not _answers(info["url"]):
        return None
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_SECONDS)  # the package's own download would wait for ever
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr), quiet():
            images: np.ndarray = getattr(medmnist, info["python_class"])("test", download=True, root=str(root)).imgs
            return images
    except Exception:  # whatever it was, there is another set
        return None
    finally:
        socket.setdefaulttimeout(patience)


def _answers(url: str) -> bool:
    """Whether a server answers soon. In a thread, because looking up its name heeds no timeout."""
    answers: list[bool] = []

    def ask() -> None:
        with contextlib.suppress(Exception), urllib.request.urlopen(url, timeout=_NETWORK_SECONDS):
            answers.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_NETWORK_SECONDS)
    return bool(answers)


def pydicom_demo_set(folder: Path) -> DemoSet:
    """The CT, MR, ultrasound and radiography files inside the installed packages pydicom and pydicom-data.

    Taken are all files with such a Modality tag, of at least 64 pixels on the shorter side, that can be read
    with the decoders installed: one of those with the very same pixels, and the first frame of multi-frame
    files. (Some show the same scan once more, compressed with loss: these have other pixels, and stay.) They
    are copied to `folder`/pydicom, frames as PNG files. Needs no network.

    Raises:
        InputError: the packages lack their files.
        OutputError: the folder cannot be written, or holds other files.
    """
    target = _made(folder / "pydicom")  # before the work, so that a wrong folder is told at once
    chosen = _pydicom_images()
    if not chosen:
        raise InputError(
            "The image files of the packages pydicom and pydicom-data are missing: "
            "pip install --force-reinstall pydicom pydicom-data brings them back."
        )
    names = {ref: _name_of_copy(ref) for ref in chosen}
    truth = {names[ref]: label for ref, label in chosen.items()}

    def write(target: Path) -> None:
        for ref, name in names.items():
            if ref.frame is None:
                shutil.copyfile(ref.file, target / name)
            else:
                read_image(ref).save(target / name)

    source = (
        "CT, MRI, ultrasound and X-ray files of at least 64 × 64 pixels that come with the packages "
        "pydicom and pydicom-data; the truth is their DICOM Modality tag."
    )
    classes = tuple(name for name in dict.fromkeys(_CLASS_OF_MODALITY.values()) if name in truth.values())
    _fill(target, truth, write)
    return DemoSet("pydicom", target, classes, truth, source)


def _name_of_copy(ref: ImageRef) -> str:
    return ref.file.name if ref.frame is None else f"{ref.file.stem}-first-frame.png"


def _pydicom_images() -> dict[ImageRef, str]:
    """The class of each distinct image, or first frame, that ships inside the two packages."""
    chosen: dict[ImageRef, str] = {}
    seen = set()
    # the folders are listed here because pydicom's own lookup downloads what is not there
    for package, inside in (("pydicom", "data/test_files"), ("data_store", "data")):
        found = find_spec(package)
        folder = Path(found.origin).parent / inside if found is not None and found.origin else None
        for ref in find_images(folder) if folder is not None and folder.is_dir() else ():
            label = None if ref.frame else _CLASS_OF_MODALITY.get(_modality(ref.file))
            if label is None:
                continue
            try:
                image = read_image(ref)
            except UnreadableImageError:
                continue
            pixels = hashlib.sha256(image.tobytes()).digest()
            if min(image.size) >= _SMALLEST_SIDE and pixels not in seen:
                seen.add(pixels)
                chosen[ref] = label
    return chosen


def _modality(file: Path) -> str:
    from pydicom import dcmread

    try:
        with quiet():
            return str(dcmread(file, stop_before_pixels=True, force=True, specific_tags=["Modality"]).Modality)
    except Exception:  # among pydicom's test files are broken ones, and ones that are not DICOM
        return ""


def _made(folder: Path) -> Path:
    """The folder, there now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def _fill(folder: Path, names: Collection[str], write: Callable[[Path], None]) -> None:
    """Let `write` put files of these names into a folder that holds no others."""
    try:
        if any(file.name not in names and not file.name.startswith(".") for file in folder.iterdir()):
            raise OutputError(f"{folder} holds other files than the demo's images: choose another folder.")
        write(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"The demo's images cannot be written to {folder} ({error.strerror}): choose another folder.")
