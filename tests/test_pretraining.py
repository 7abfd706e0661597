"""Training CLIP on image-text pairs: the table, the augmentation, the loss, and a whole run on real pixels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import open_clip_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoannotate.errors import InputError, OutputError
from autoannotate.models.encoder import load_encoder
from autoannotate.models.pretraining.augment import augment
from autoannotate.models.pretraining.clip import SoftTargetClipLoss, pretrain_clip
from autoannotate.models.pretraining.pairs import read_pairs

RED, BLUE = ("a red square", "something red"), ("a blue square", "something blue")


def write_pairs(folder: Path, count: int = 24, columns: tuple[str, ...] = ("path", "caption", "group")) -> Path:
    """Half red, half blue pictures of noise, two captions each, three pictures a group."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(count):
        colour, captions = ((200, 30, 30), RED) if i % 2 else ((30, 30, 200), BLUE)
        pixels = np.clip(np.array(colour) + rng.normal(0, 20, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        rows += [(f"{i}.png", caption, f"case {i // 6}") for caption in captions]
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    open_clip_folder(folder)
    return folder


def test_a_caption_in_several_rows_is_true_of_all_their_images(tmp_path: Path) -> None:
    pairs = read_pairs(write_pairs(tmp_path), tmp_path / "images")
    assert len(pairs.paths) == 24
    assert set(pairs.captions) == {*RED, *BLUE}
    assert pairs.truth.sum(1).tolist() == [2.0] * 24
    assert pairs.truth[:, [pairs.captions.index("something red")]].sum() == 12


@given(share=st.floats(0.3, 0.7), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_a_group_stays_on_one_side_of_the_split(
    tmp_path_factory: pytest.TempPathFactory, share: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    pairs = read_pairs(write_pairs(folder), folder / "images")
    try:
        train, aside = pairs.split(share, seed)
    except InputError:  # all groups on one side: said, not split
        return
    assert not set(train.groups) & set(aside.groups)
    assert len(train.paths) + len(aside.paths) == len(pairs.paths)
    assert train.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("columns", "said"),
    [(("file", "caption", "group"), "it needs path"), (("path", "words", "group"), "caption, text, report")],
)
def test_a_table_without_the_columns_says_which_it_needs(tmp_path: Path, columns: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_pairs(write_pairs(tmp_path, columns=columns), tmp_path / "images")


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    table = write_pairs(tmp_path)
    (tmp_path / "images" / "3.png").unlink()
    with pytest.raises(InputError, match=r"1 of 24 images are missing .*3\.png"):
        read_pairs(table, tmp_path / "images")


@given(seed=st.integers(0, 10_000), width=st.integers(9, 90), height=st.integers(9, 90))
@settings(max_examples=60, deadline=None)
def test_augmentation_gives_a_picture_of_the_size_asked_and_repeats_itself(seed: int, width: int, height: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    once, again = (augment(Image.fromarray(pixels), (32, 24), np.random.default_rng(seed)) for _ in range(2))
    assert once.size == (32, 24)
    assert once.mode == "RGB"
    assert once.tobytes() == again.tobytes()


def test_with_one_true_caption_an_image_the_loss_is_the_one_of_clip() -> None:
    from open_clip.loss import ClipLoss

    torch.manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    scale = torch.tensor(10.0)
    assert SoftTargetClipLoss()(images, texts, scale, torch.eye(6)).item() == pytest.approx(
        ClipLoss()(images, texts, scale).item(), abs=1e-5
    )


def test_captions_that_mean_the_same_are_not_pushed_apart() -> None:
    image = torch.nn.functional.normalize(torch.ones(1, 4), dim=1)
    texts = torch.cat([image, image])
    loss = SoftTargetClipLoss()(image, texts, torch.tensor(50.0), torch.ones(1, 2))
    assert loss.item() == pytest.approx(np.log(2) / 2, abs=1e-4)  # the least there is: an even choice of two


@pytest.mark.slow
def test_training_learns_and_its_checkpoint_loads_like_any_other(tmp_path: Path, start: Path) -> None:
    table = write_pairs(tmp_path, 48)
    options = {"init": str(start), "batch_size": 16, "lr": 1e-3, "text_lr": 1e-3, "anchor": 0.1, "held_out": 0.3}
    result = pretrain_clip(tmp_path / "images", table, tmp_path / "out", epochs=60, workers=0, **options)
    assert result.after > 0.9
    encoder = load_encoder(str(result.folder))
    pictures = encoder.encode_images(Image.open(tmp_path / "images" / f"{i}.png") for i in range(10)).embeddings
    red = (pictures @ encoder.encode_texts(["something blue", "something red"]).T).argmax(1)
    assert red.tolist() == [0, 1] * 5


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 5, 7], ids=lambda step: f"at step {step}")  # between epochs, and within one
def test_a_stopped_run_goes_on_and_ends_where_it_would_have(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    from autoannotate.models.pretraining import clip

    monkeypatch.setattr(clip, "SAVE_SECONDS", 0)  # a checkpoint after every step
    table = write_pairs(tmp_path, 48)
    options = {"init": str(start), "epochs": 3, "batch_size": 8, "held_out": 0.3, "workers": 0}
    whole = pretrain_clip(tmp_path / "images", table, tmp_path / "whole", **options)

    def stopping(items, description, total=None):
        for i, item in enumerate(items):
            if description == "training" and i == stop:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        pretrain_clip(tmp_path / "images", table, tmp_path / "stopped", track=stopping, **options)
    resumed = pretrain_clip(tmp_path / "images", table, tmp_path / "stopped", **options)
    assert (resumed.steps, resumed.before) == (whole.steps, whole.before)
    weights = [(folder / "open_clip_model.safetensors").read_bytes() for folder in (whole.folder, resumed.folder)]
    assert weights[0] == weights[1]


def test_a_folder_with_another_run_is_refused(tmp_path: Path, start: Path) -> None:
    table = write_pairs(tmp_path)
    options = {"init": str(start), "batch_size": 8, "held_out": 0.3, "workers": 0}
    pretrain_clip(tmp_path / "images", table, tmp_path / "out", epochs=0.5, **options)
    with pytest.raises(OutputError, match="other settings"):
        pretrain_clip(tmp_path / "images", table, tmp_path / "out", epochs=1, **options)
