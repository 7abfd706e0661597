"""Issues of given labels: each kind is found where it was planted, says what it is, and stands in its order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from autoannotate.images.quality import measure
from autoannotate.labelling.features import compact
from autoannotate.labelling.label_errors.issues import (
    ISSUES,
    Audited,
    Issue,
    find_issues,
    quality_scores,
    same_pictures,
)
from autoannotate.labelling.label_errors.suspects import find_suspects
from autoannotate.labelling.neighbours import nearest
from autoannotate.labelling.zero_shot.image_kinds import ImageKinds, none_of_these

CLASSES = ["cyst", "tumour", "clear"]


def made(per_class: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat(np.arange(3), per_class)
    points = np.random.default_rng(seed).normal(size=(len(truth), 20)) + 3.0 * np.eye(3, 20)[truth]
    return points, truth


def audited(points: np.ndarray, labels: np.ndarray, **more: object) -> Audited:
    near = nearest(compact(points))
    names = [f"{i}.png" for i in range(len(labels))]
    found = find_suspects(points, labels, np.full((len(labels), 3), 1 / 3), CLASSES, image_names=names)
    known = Audited(
        labels, CLASSES, names, found.score, found.flagged, found.suggested, found.out_of_sample, near, found.reasons
    )
    return replace(known, **more)  # type: ignore[arg-type]


def of_kind(found: list[Issue], kind: str) -> list[Issue]:
    return [each for each in found if each.kind == kind]


def test_clean_labels_of_clear_classes_have_hardly_an_issue() -> None:
    points, labels = made()
    assert len(find_issues(audited(points, labels))) <= 3


def test_wrong_labels_come_with_the_class_they_should_be() -> None:
    points, truth = made()
    labels = truth.copy()
    labels[[3, 50, 100]] = (labels[[3, 50, 100]] + 1) % 3
    found = of_kind(find_issues(audited(points, labels)), "label")
    assert {each.row for each in found[:3]} == {3, 50, 100}
    assert all(each.suggested == truth[each.row] for each in found[:3])


def test_copies_with_different_labels_stand_first_and_name_each_other() -> None:
    points, truth = made()
    points = np.vstack([points, points[5] + 1e-4])
    labels = np.append(truth, 1)
    first, second, *rest = find_issues(audited(points, labels))
    assert {first.kind, second.kind} == {"contradiction"}
    assert (first.row, second.row) == (120, 5)
    assert (first.suggested, second.suggested) == (0, 0)
    assert "5.png, labelled cyst" in first.detail
    assert not of_kind(rest, "contradiction")


def test_copies_with_one_label_are_duplicates_and_worse_across_a_split() -> None:
    points, truth = made()
    points = np.vstack([points, points[5] + 1e-4, points[60] + 1e-4])
    labels = np.append(truth, [0, 1])
    split = np.array(["train"] * 121 + ["test"])
    found = of_kind(find_issues(audited(points, labels, split=split)), "duplicate")
    assert [each.row for each in found[:2]] == [60, 121]
    assert "which is in train" in found[1].detail
    assert {each.row for each in found[2:4]} == {5, 120}


def test_copies_that_the_features_do_not_see_are_seen_by_their_thumbnails() -> None:
    points, labels = made()
    points[7] = points[5] + 0.9 * np.random.default_rng(1).normal(size=20)
    pictures = np.random.default_rng(2).integers(0, 255, (120, 64))
    pictures[7] = np.clip(pictures[5] + 3, 0, 255)
    known = audited(points, labels)
    near = known.neighbours.index[5].tolist()
    assert near.index(7) <= 1
    assert same_pictures(known)[5, near.index(7)] == 0
    assert same_pictures(replace(known, thumbnails=pictures))[5, near.index(7)] > 0.8


def test_a_group_on_both_sides_of_a_split_is_said_for_each_of_its_images() -> None:
    points, labels = made()
    groups = np.arange(120) // 2
    split = np.where(np.arange(120) < 61, "train", "test")
    found = of_kind(find_issues(audited(points, labels, groups=groups, split=split)), "group")
    assert [each.row for each in found] == [60, 61]
    assert found[0].detail == "in train; 1 of its group in test"


def test_a_class_that_one_site_alone_has_is_said_once() -> None:
    points, labels = made()
    site = np.where(labels == 2, "B", np.where(np.arange(120) % 2, "A", "B"))
    (one,) = of_kind(find_issues(audited(points, labels, sites={"scanner": site})), "group")
    assert one.row is None
    assert one.detail.startswith("all 40 images of clear have scanner B")


def test_labels_thrown_over_two_classes_cannot_be_told_apart() -> None:
    points, truth = made()
    labels = truth.copy()
    labels[:80] = np.random.default_rng(3).permutation(labels[:80])
    points[40:80] -= 3.0 * np.eye(3, 20)[1] - 3.0 * np.eye(3, 20)[0]
    found = of_kind(find_issues(audited(points, labels)), "class")
    assert [(each.label, each.suggested) for each in found] == [(0, 1)]
    assert "cannot be told apart" in found[0].detail


def test_a_share_of_a_class_that_belongs_to_another_is_said() -> None:
    points, labels = made()
    joint = np.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.05, 0.0, 0.95]])
    (one,) = of_kind(find_issues(audited(points, labels, joint=joint)), "class")
    assert one.detail == "an estimated 20% of cyst should be tumour"


def test_an_image_of_another_kind_is_none_of_these_with_what_it_looks_like() -> None:
    points, labels = made()
    kinds = np.tile([0.9, 0.1], (120, 1))
    kinds[8] = [0.02, 0.98]
    looks = none_of_these(ImageKinds(kinds, ("lung ultrasound", "a photograph"), ("ultrasound", "photograph")), labels)
    (one,) = of_kind(find_issues(audited(points, labels, none_of_these=looks)), "none-of-these")
    assert one.row == 8
    assert one.detail == "looks like a photograph (98%), which no class is"


def test_what_many_images_have_is_no_issue_of_each() -> None:
    points, labels = made()
    some, many = (np.where(np.arange(120) < n, 0.1, 0.9) for n in (2, 80))
    found = of_kind(
        find_issues(audited(points, labels, quality={"dark": (some, 0.3), "blurred": (many, 0.3)})), "quality"
    )
    assert [each.row for each in found] == [0, 1, None]
    assert found[2].detail.startswith("80 of 120 images are blurred")


def test_worst_first_and_any_few_images_work() -> None:
    for n in (2, 3, 11):
        points, labels = np.random.default_rng(n).normal(size=(n, 5)), np.arange(n) % 3
        scores = [each.score for each in find_issues(audited(points, labels))]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


def test_every_kind_has_a_docstring() -> None:
    assert all(find.__doc__ for find in ISSUES.values())


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    plain = [Image.fromarray(rng.integers(0, 255, (80 + n, 100, 3), dtype=np.uint8)) for n in range(8)]
    dark = plain[0].point(lambda v: v // 8)
    bright = plain[1].point(lambda v: 250 + v // 64)
    smooth = plain[2].filter(ImageFilter.GaussianBlur(9))
    return [*plain, dark, bright, smooth, Image.new("RGB", (400, 90), (90, 90, 90)), plain[3].resize((900, 800))]


def test_dark_bright_blurred_empty_and_odd_images_are_told() -> None:
    look = measure(pictures())
    scores = quality_scores(
        look.bright, look.dim, look.entropy, look.edges, look.spread, look.width, look.height
    )  # fmt: skip
    told = {name: set(np.flatnonzero(values < threshold)) for name, (values, threshold) in scores.items()}
    assert 8 in told["dark"]
    assert 9 in told["bright"]
    assert 11 in told["of low information"]
    assert told["of odd aspect"] == {11}
    assert 12 in told["of odd size"]
    assert not set(range(8)) & set().union(*told.values())


def test_the_measures_are_those_of_cleanvision() -> None:
    properties = pytest.importorskip("cleanvision.issue_managers.image_property", reason="needs cleanvision")
    images = pictures()
    look = measure(images)
    for i, image in enumerate(images):
        values = properties.BrightnessProperty("dark").calculate(image) | properties.EntropyProperty().calculate(image)
        values |= properties.BlurrinessProperty().calculate(image)
        names = ("brightness_perc_99", "brightness_perc_5", "entropy", "blurriness", "blurriness_grayscale_std")
        ours = (look.bright[i], look.dim[i], look.entropy[i], look.edges[i], look.spread[i])
        np.testing.assert_allclose(ours, [float(values[name]) for name in names], rtol=1e-6)
    scores = quality_scores(look.bright, look.dim, look.entropy, look.edges, look.spread, look.width, look.height)
    blur, size = properties.BlurrinessProperty(), properties.SizeProperty()
    raw = pd.DataFrame(
        {"blurriness": look.edges, "blurriness_grayscale_std": look.spread, "size": np.sqrt(look.width * look.height)}
    )
    theirs = blur.get_scores(raw, "blurry", normalizing_factor=0.01, color_threshold=0.18)
    np.testing.assert_allclose(scores["blurred"][0], theirs["blurry_score"], rtol=1e-6)
    np.testing.assert_allclose(scores["of odd size"][0], size.get_scores(raw, "odd_size")["odd_size_score"], rtol=1e-6)
