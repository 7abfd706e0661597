"""The images of `autoannotate demo`: real, with a known truth, with and without a network."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autoannotate.errors import OutputError
from autoannotate.images import demo, find_images, read_image


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """Every attempt to reach another machine fails."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="module")
def without_network(tmp_path_factory: pytest.TempPathFactory, no_network: None) -> demo.DemoSet:
    """What a machine gets that has no network and never had MedMNIST."""
    import medmnist

    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(medmnist.dataset, "DEFAULT_ROOT", str(folder / "downloads"))
        return demo.demo_set(folder)


def test_without_network_the_images_are_those_of_pydicom(without_network: demo.DemoSet) -> None:
    counts = Counter(without_network.truth.values())
    assert without_network.name == "pydicom"
    assert without_network.classes == ("CT", "MRI", "ultrasound", "X-ray")
    assert counts.total() >= 20
    assert min(counts.values()) >= 4
    images = {ref.path: read_image(ref) for ref in find_images(without_network.folder)}
    assert images.keys() == without_network.truth.keys()
    assert all(min(image.size) >= 64 for image in images.values())
    assert len({image.tobytes() for image in images.values()}) == len(images)
    assert all(np.asarray(image).std() > 5 for image in images.values())


def test_a_second_demo_has_the_same_images(without_network: demo.DemoSet) -> None:
    assert demo.pydicom_demo_set(without_network.folder.parent) == without_network


def test_medmnist_draws_by_seed_from_the_test_splits(tmp_path: Path, data_dir: Path) -> None:
    root = data_dir / "eval" / "medmnist"
    found = demo.medmnist_demo_set(tmp_path, seed=1, root=root)
    assert found is not None
    assert found.classes == ("chest", "breast")
    assert Counter(found.truth.values()) == {"chest": 300, "breast": 156}
    assert {ref.path for ref in find_images(found.folder)} == found.truth.keys()
    with np.load(root / "breastmnist.npz") as arrays:
        expected = arrays["test_images"][17]
    (image,) = (read_image(ref) for ref in find_images(found.folder) if ref.path == "breastmnist-test-017.png")
    assert (np.asarray(image)[..., 0] == expected).all()
    assert demo.medmnist_demo_set(tmp_path, seed=1, root=root) == found


def test_a_network_that_swallows_everything_is_given_up_while_it_is_still_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, answered = threading.Event(), threading.Event()

    def swallow(*arguments: object, **options: object) -> None:
        over.wait(60)
        answered.set()

    monkeypatch.setattr(demo, "_NETWORK_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", swallow)
    try:
        assert demo.medmnist_demo_set(tmp_path, root=tmp_path) is None
        assert not answered.is_set()
    finally:
        over.set()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pydicom").mkdir()
    (tmp_path / "pydicom" / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        demo.pydicom_demo_set(tmp_path)
    assert [file.name for file in (tmp_path / "pydicom").iterdir()] == ["precious.txt"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        demo.pydicom_demo_set(tmp_path / "file")
