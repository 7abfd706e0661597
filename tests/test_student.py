"""The student: what it learns from the cleaned set, when it is believed, and which labels it may change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_labels import thrown
from PIL import Image
from torch import nn

from autoannotate.errors import UsageError
from autoannotate.labelling.label_errors.student import StudentResult, judge
from autoannotate.labelling.label_errors.student_decision import Decision
from autoannotate.models import student_network
from autoannotate.models.batch_norm import fold_batch_norm
from autoannotate.models.student_training import train_student


def shapes(n: int, seed: int = 0) -> tuple[list[Image.Image], np.ndarray]:
    """Noisy grey pictures of three classes: a disc, stripes, or nothing, anywhere in the picture."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    y, x = np.mgrid[:32, :32]
    pictures = []
    for label in labels:
        grey = rng.normal(110, 25, (32, 32))
        centre = rng.integers(10, 22, 2)
        if label == 0:
            grey[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 60] += 90
        if label == 1:
            grey += 60 * np.sign(np.sin(x * 1.2 + centre[0]))
        pictures.append(Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB"))
    return pictures, labels


def small_backbone(encoder: Any, seed: int) -> student_network.Backbone:
    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    with student_network.fixed_randomness(seed):
        body = nn.Sequential(*block(3, 16), *block(16, 32), *block(32, 32))
    return student_network.Backbone(nn.Identity(), body, 32, 32, 5e-3, 5e-3, pretrained=False, max_epochs=12)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone is added by one entry."""
    monkeypatch.setitem(student_network.BACKBONES, "small", small_backbone)


def weak_probe(labels: np.ndarray, accuracy: float, sure: float = 0.6, seed: int = 2) -> np.ndarray:
    """Out-of-sample probabilities of a probe that is right this often."""
    guesses = thrown(labels, 1 - accuracy, 3, seed)
    return np.where(np.eye(3)[guesses] > 0, sure, (1 - sure) / 2)


def features_of(n: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(n, 16))


@pytest.fixture(scope="module")
def taught() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, StudentResult]:
    """True labels, noisy labels, suspects, the probe, and a student of 240 pictures."""
    student_network.BACKBONES["small"] = small_backbone
    pictures, truth = shapes(240)
    noisy, probe = thrown(truth, 0.15, 3), weak_probe(truth, 0.8)
    suspects = (probe.argmax(1) != noisy) & (np.random.default_rng(5).random(240) < 0.7)
    result = train_student(
        pictures, features_of(240), noisy, ~suspects, baseline=probe, kind="small", passes=2400, device="cpu"
    )
    del student_network.BACKBONES["small"]
    return truth, noisy, suspects, probe, result


def test_a_student_sees_what_the_labels_it_was_taught_got_wrong(taught: Any) -> None:
    truth, _noisy, suspects, probe, result = taught
    right = result.probabilities.argmax(1) == truth
    assert right[suspects].mean() > 0.9 > (probe.argmax(1) == truth)[suspects].mean()
    assert result.reliable
    assert result.held_out_accuracy > result.baseline_accuracy
    np.testing.assert_allclose(result.probabilities.sum(1), 1)


def test_a_student_that_learnt_nothing_is_not_believed() -> None:
    pictures, _ = shapes(90)
    labels = np.random.default_rng(7).permutation(np.arange(90) % 3)  # nothing to do with the pictures
    probe = weak_probe(labels, 0.9)
    result = train_student(
        pictures, features_of(90), labels, np.ones(90, bool), baseline=probe, kind="small", passes=900, device="cpu"
    )
    assert not result.reliable
    assert result.held_out_accuracy < 0.6  # it never judges an image whose label it was taught


def test_training_ends_half_way_where_the_first_network_is_surely_worse_than_the_probe() -> None:
    pictures, _ = shapes(120)
    labels = np.random.default_rng(7).permutation(np.arange(120) % 3)  # nothing to do with the pictures
    probe, clean = weak_probe(labels, 0.9), np.ones(120, bool)
    arguments: Any = (pictures, features_of(120), labels, clean)
    options: Any = {"kind": "small", "passes": 480, "device": "cpu", "baseline": probe}
    whole, half = train_student(*arguments, **options), train_student(*arguments, **options, given=labels)
    assert half.decision == Decision.STOPPED
    assert half.image_passes < whole.image_passes
    assert "given up half-way" in half.note
    np.testing.assert_array_equal(half.probabilities, probe)


def test_twins_of_taught_images_are_not_held_out() -> None:
    half, _ = shapes(60)
    labels = np.random.default_rng(7).permutation(np.arange(60) % 3)
    pictures, both = [*half, *half], np.concatenate([labels, labels])
    result = train_student(
        pictures, features_of(120), both, np.ones(120, bool), baseline=weak_probe(both, 0.9),
        groups=np.tile(np.arange(60), 2), kind="small", passes=1200, device="cpu",
    )  # fmt: skip
    assert result.held_out_accuracy < 0.6


def test_the_same_seed_gives_the_same_bytes_and_leaves_torch_alone() -> None:
    pictures, labels = shapes(60)
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    results = [
        train_student(
            pictures, features_of(60), labels, np.ones(60, bool), baseline=weak_probe(labels, 0.8),
            kind="small", passes=120, seed=seed, device="cpu",
        )
        for seed in (4, 4, 5)
    ]  # fmt: skip
    assert torch.equal(torch.rand(3), expected)
    assert results[0].probabilities.tobytes() == results[1].probabilities.tobytes()
    assert results[0].probabilities.tobytes() != results[2].probabilities.tobytes()


def test_each_image_is_read_once_and_the_budget_counts_passes_not_time() -> None:
    pictures, labels = shapes(120)
    reads: Counter[int] = Counter()

    def read(i: int) -> Image.Image:
        reads[i] += 1
        return pictures[i]

    result = train_student(
        read, features_of(120), labels, np.arange(120) % 5 > 0, baseline=weak_probe(labels, 0.8),
        kind="small", passes=120, max_training_images=60, device="cpu",
    )  # fmt: skip
    assert reads == Counter(range(120))
    assert result.image_passes == 120


@pytest.mark.parametrize(("n", "clean_of_last_class"), [(39, 13), (60, 4), (60, 1)])
def test_too_few_images_give_no_student_and_say_so(n: int, clean_of_last_class: int) -> None:
    pictures, labels = shapes(n)
    clean = np.ones(n, dtype=bool)
    clean[np.flatnonzero(labels == 2)[clean_of_last_class:]] = False
    baseline = weak_probe(labels, 0.8)
    result = train_student(pictures, features_of(n), labels, clean, baseline=baseline, kind="small")
    assert not result.reliable
    assert result.held_out_accuracy is None
    assert result.note.startswith("No student was trained")
    np.testing.assert_array_equal(result.probabilities, baseline)


def test_a_class_that_no_image_has_is_no_obstacle_and_never_proposed() -> None:
    pictures, labels = shapes(120)
    two = labels < 2
    pictures, labels = [pictures[i] for i in np.flatnonzero(two)], labels[two]
    n = len(labels)
    result = train_student(
        pictures, features_of(n), labels, np.ones(n, bool), baseline=weak_probe(labels, 0.8),
        kind="small", passes=900, device="cpu",
    )  # fmt: skip
    assert result.held_out_accuracy > 0.6
    assert (result.probabilities.argmax(1) < 2).all()
    alike = train_student(pictures, features_of(n), 0 * labels, np.ones(n, bool), baseline=weak_probe(labels, 0.8))
    assert not alike.reliable
    assert "the same label" in alike.note


def test_no_student_can_be_asked_for_and_an_unknown_one_is_named_with_the_choices() -> None:
    pictures, labels = shapes(60)
    arguments = (pictures, features_of(60), labels, np.ones(60, bool))
    assert not train_student(*arguments, baseline=weak_probe(labels, 0.8), kind="none").reliable
    with pytest.raises(UsageError, match=r"resnet50.*embedded, resnet18"):
        train_student(*arguments, baseline=weak_probe(labels, 0.8), kind="resnet50")


def test_a_student_is_reliable_only_when_it_is_surely_no_worse() -> None:
    truth = np.arange(300) % 3
    logits = 6 * np.eye(3)[thrown(truth, 0.05, 3)][:, None, :]
    alone = np.ones((300, 1), dtype=bool)
    assert judge(logits, alone, truth, np.ones(300), weak_probe(truth, 0.8)).reliable
    assert not judge(logits, alone, truth, np.ones(300), weak_probe(truth, 0.995)).reliable


def test_folding_batch_norm_leaves_the_outputs_as_they_were() -> None:
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    with torch.no_grad():
        before = net(images)
        after = fold_batch_norm(net, images[:1])(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_images_are_mirrored_only_where_the_set_has_no_sides() -> None:
    backbone = small_backbone(None, 0)
    rng = np.random.default_rng(0)
    pixels = np.clip(rng.normal(110, 25, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
    labels = np.zeros(60, dtype=int)
    cpu = torch.device("cpu")
    assert student_network.find_symmetries(backbone, pixels, labels, seed=0, device=cpu) == student_network.Symmetries(
        True, True
    )
    hearts = pixels.copy()
    hearts[:, 8:20, 18:28] = 250  # always on the same side, and high
    assert student_network.find_symmetries(backbone, hearts, labels, seed=0, device=cpu) == student_network.Symmetries(
        False, False
    )
    left_or_right = pixels.copy()
    left_or_right[:30, :, :8] = 250
    left_or_right[30:, :, -8:] = 250
    sides = np.arange(60) // 30
    found = student_network.find_symmetries(backbone, left_or_right, sides, seed=0, device=cpu)
    assert found == student_network.Symmetries(horizontal=False, vertical=True)


def test_augmentation_without_symmetries_never_mirrors() -> None:
    wedge = torch.linspace(-1, 1, 32).expand(16, 3, 32, 32).contiguous()
    with student_network.fixed_randomness(0):
        turned = student_network.augment(wedge, student_network.Symmetries())
    assert turned.shape == wedge.shape
    assert (turned[..., 24:].mean((1, 2, 3)) > turned[..., :8].mean((1, 2, 3))).all()


@pytest.mark.parametrize(
    ("horizontal", "vertical", "axes"),
    [(False, False, []), (True, False, [2]), (False, True, [1]), (True, True, [1, 2])],
)
def test_an_image_and_its_mirror_image_are_judged_alike_where_mirroring_means_nothing(
    horizontal: bool, vertical: bool, axes: list[int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 28 * 28, 3)).eval()
    views = student_network.Symmetries(horizontal, vertical).mirrorings
    judged = student_network.predict(model, pixels, torch.device("cpu"), views)
    for axis in (1, 2):
        mirrored = student_network.predict(model, np.flip(pixels, axis), torch.device("cpu"), views)
        assert np.allclose(judged, mirrored, atol=1e-5) == (axis in axes)


@pytest.mark.slow
def test_resnet18_from_scratch_learns_too() -> None:
    pictures, labels = shapes(60)
    result = train_student(
        pictures, features_of(60), labels, np.ones(60, bool), baseline=weak_probe(labels, 0.8),
        kind="resnet18", passes=270, device="cpu",
    )  # fmt: skip
    assert result.probabilities.shape == (60, 3)
    assert result.image_passes == 180


def test_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    from autoannotate.models.training_checkpoints import Checkpoints

    pictures, labels = shapes(60)
    pixels = np.stack([student_network.to_pixels(picture, 32) for picture in pictures])
    trained: list[int] = []

    def score(model: student_network.Classifier) -> float:
        trained.append(1)
        return float(model.head.weight.detach()[0, :4].sum() > 0)  # of the weights alone

    def fit(stop_after: int | None = None, kept: Checkpoints | None = None) -> tuple[dict[str, torch.Tensor], int]:
        def walk() -> Iterator[int]:
            for epoch in range(7):
                if epoch == stop_after:
                    raise KeyboardInterrupt
                yield epoch

        trained.clear()
        model = student_network.fit(
            small_backbone(None, 0), pixels, labels, np.ones(60), 3, student_network.Recipe(epochs=7),
            student_network.Symmetries(True, True), score=score, walk=walk(), seed=3, device=torch.device("cpu"),
            checkpoint=None if kept is None else kept.of(pixels, labels, 3),
        )  # fmt: skip
        return model.state_dict(), len(trained)

    whole, epochs = fit()
    kept = Checkpoints(tmp_path / "students")
    for stop_after in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            fit(stop_after, kept)
    (file,) = (tmp_path / "students").iterdir()
    assert torch.load(file, weights_only=True)["done"] == 5
    resumed, left = fit(None, kept)
    assert left == epochs - 5
    again, none_left = fit(None, Checkpoints(tmp_path / "students"))
    assert none_left == 0
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
        assert torch.equal(tensor, again[name]), name
    file.write_bytes(b"damaged")
    assert fit(None, kept)[1] == epochs
    kept.clear()
    assert not list((tmp_path / "students").iterdir())


def test_another_training_never_takes_a_checkpoint_up(tmp_path: Path) -> None:
    from autoannotate.models.training_checkpoints import Checkpoints

    kept, net = Checkpoints(tmp_path), nn.Linear(3, 3)
    first = kept.of(net, np.arange(4), "a", 1).file
    assert kept.of(net, np.arange(4), "a", 1).file == first
    others = [kept.of(nn.Linear(3, 3), np.arange(4), "a", 1), kept.of(net, np.arange(5), "a", 1), kept.of(net, 1)]
    assert first not in {other.file for other in others}
