"""SimCLR pretraining of the student: from a folder of unlabelled images to a backbone that a student starts from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("lightly", reason="the ssl extra is not installed: pip install 'autoannotate[ssl]'")

from autoannotate.cli.main import app
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.models import student_network
from autoannotate.models.pretraining import checkpoint
from autoannotate.models.pretraining.simclr import pretrain_backbone, pretrain_simclr
from autoannotate.models.student_checkpoint import check_student, load_student

TINY = {"init": "resnet18", "batch_size": 8, "workers": 0}


def write_images(folder: Path, count: int = 24) -> Path:
    """Discs and bars of many sizes, places and shades, as cells and bones are."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    y, x = np.mgrid[:48, :48]
    for i in range(count):
        top, left, size = *rng.uniform(10, 38, 2), rng.uniform(4, 10)
        inside = (y - top) ** 2 + (x - left) ** 2 < size**2 if i % 2 else np.abs(x - left) < size / 2
        pixels = np.where(inside[..., None], rng.uniform(120, 255, 3), rng.uniform(0, 100, 3)) + rng.normal(
            0, 8, (48, 48, 3)
        )
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_run_leaves_a_student_that_loads_with_the_weights_it_learnt(tmp_path: Path) -> None:
    result = pretrain_simclr(write_images(tmp_path / "images"), tmp_path / "out", epochs=1, held_out=0.2, **TINY)
    assert (result.images, result.held_out_images, result.steps) == (19, 5, 2)
    about = json.loads((tmp_path / "out" / "student.json").read_text())
    assert about["backbone"] == "resnet18"
    loaded, fresh = load_student(tmp_path / "out"), student_network.resnet18_backbone(None, 0)
    assert loaded.pretrained
    first, other = next(loaded.body.parameters()), next(fresh.body.parameters())
    assert first.shape == other.shape
    assert not torch.equal(first, other)
    assert check_student(str(tmp_path / "out")) == str(tmp_path / "out")


def test_a_file_that_is_no_picture_is_counted_and_passed_over(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    result = pretrain_simclr(tmp_path / "images", tmp_path / "out", epochs=1, **TINY)
    assert result.unreadable == 1


@pytest.mark.parametrize("stop", [1, 3, 4], ids=lambda step: f"at step {step}")  # within an epoch, and between two
@pytest.mark.slow
def test_a_stopped_run_goes_on_and_ends_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)  # a checkpoint after every step
    images = write_images(tmp_path / "images", 20)
    whole = pretrain_simclr(images, tmp_path / "whole", epochs=3, **TINY)

    def stopping(items, description, total=None):
        for i, item in enumerate(items):
            if description == "training" and i == stop:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        pretrain_simclr(images, tmp_path / "stopped", epochs=3, track=stopping, **TINY)
    resumed = pretrain_simclr(images, tmp_path / "stopped", epochs=3, **TINY)
    assert (resumed.before, resumed.after) == pytest.approx((whole.before, whole.after), nan_ok=True)
    weights = [(folder / "student.safetensors").read_bytes() for folder in (whole.folder, resumed.folder)]
    assert weights[0] == weights[1]


def test_other_settings_or_other_images_are_another_run(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    pretrain_simclr(images, tmp_path / "out", epochs=1, **TINY)
    with pytest.raises(OutputError, match="other settings"):
        pretrain_simclr(images, tmp_path / "out", epochs=2, **TINY)
    (images / "0.png").unlink()
    with pytest.raises(OutputError, match="other settings"):
        pretrain_simclr(images, tmp_path / "out", epochs=1, **TINY)


def test_the_number_of_workers_does_not_change_the_weights(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    for workers in (0, 2):
        pretrain_simclr(images, tmp_path / str(workers), epochs=1, **{**TINY, "workers": workers})
    weights = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("0", "2")]
    assert weights[0] == weights[1]


def test_pretraining_in_python_leaves_the_backbone_it_was_given_as_it_was() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 80, 80, 3), dtype=np.uint8)
    start = student_network.resnet18_backbone(None, 0)
    before = [parameter.clone() for parameter in start.body.parameters()]
    learnt = pretrain_backbone(start, pixels, epochs=1, batch_size=8)
    assert all(torch.equal(a, b) for a, b in zip(before, start.body.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before, learnt.body.parameters(), strict=True))
    with pytest.raises(UsageError, match="at least 16 images"):
        pretrain_backbone(start, pixels[:15])


def test_wrong_calls_say_what_to_do(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 5)
    with pytest.raises(InputError, match="at least 16 images"):
        pretrain_simclr(images, tmp_path / "out", **TINY)
    with pytest.raises(UsageError, match="embedded or resnet18"):
        pretrain_simclr(images, tmp_path / "out", init="vgg")
    with pytest.raises(UsageError, match="autoannotate pretrain simclr"):
        check_student("vgg")


def test_the_command_says_how_to_use_what_it_made(tmp_path: Path) -> None:
    images, out = write_images(tmp_path / "images"), tmp_path / "out"
    options = ["--init", "resnet18", "--epochs", "1", "--batch-size", "8", "--held-out", "0.2", "--workers", "0"]
    result = CliRunner().invoke(app, ["pretrain", "simclr", "--images", str(images), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert f"--student {out}" in result.output


@pytest.mark.slow
def test_two_views_of_real_images_find_each_other_ever_better(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    for name in ("blood_pbc", "chest_nih", "skin_ham10000", "breast_busi", "brain_mri"):
        for path in sorted((data_dir / "eval" / name / "images").iterdir())[::12][:40]:
            (tmp_path / "mixed" / f"{name}_{path.name}").symlink_to(path)
    out = tmp_path / "out"
    pretrain_simclr(tmp_path / "mixed", out, init="resnet18", epochs=12, batch_size=32, held_out=0.25, workers=0)
    losses = np.loadtxt(out / "log.csv", delimiter=",")[:, 1]
    assert (
        losses[:5].mean() > losses[-5:].mean() + 0.4
    )  # it begins near log(63) = 4.14, where every other view is as near
