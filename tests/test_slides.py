"""Whole-slide images: tiles at one magnification, no background, one label a slide, a heat map in the report."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from autoannotate import Annotations, Annotator
from autoannotate.images import find, find_images, read_image, slide
from autoannotate.images.items import chosen, items_of
from autoannotate.review.pictures import slice_of, stack_of

pytest.importorskip("openslide", reason="slides are read with the extra `slides`")
SIDE, GLASS, PINK, VIOLET = 5120, 243, (225, 120, 190), (110, 50, 150)
APERIO = "Aperio Image Library v12.0.0\n5120x5120 [0,0 5120x5120] (256x256) JPEG/RGB Q=70"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Aperio slide at 0.5 microns a pixel, pink tissue at the left and violet at the right, glass around; a generic one that
    does not say its scale."""
    folder = tmp_path_factory.mktemp("slides")
    small = np.full((80, 80, 3), GLASS, np.uint8)
    small[16:64, 8:32], small[16:64, 48:72] = PINK, VIOLET
    noise = np.random.default_rng(0).integers(-6, 7, (512, 512, 1))
    base = small.repeat(64, 0).repeat(64, 1)
    base = (base.reshape(10, 512, 10, 512, 3) + noise[:, None]).reshape(SIDE, SIDE, 3).clip(0, 255).astype(np.uint8)
    for name, about in (("a.svs", f"{APERIO}|AppMag = 20|MPP = 0.5"), ("b.tif", None)):
        with tifffile.TiffWriter(folder / name) as tiff:
            for step in (1, 8):
                told = {"description": about} if step == 1 and about else {}
                tiff.write(
                    base[::step, ::step], tile=(256, 256), photometric="rgb", compression="jpeg", metadata=None,
                    subfiletype=int(step > 1), **told,
                )  # fmt: skip
    return folder


@pytest.mark.slow
def test_a_slide_is_one_item_of_tiles_at_one_magnification_without_glass(slides: Path) -> None:
    (item,) = items_of(find_images(slides / "a.svs"))
    assert (item.path, item.kind) == ("a.svs", "slide")
    assert "the tiles of a slide have one label" in chosen([item])
    assert {(width, height) for _, _, width, height in item.places} == {
        (0.1, 0.1)
    }  # 256 pixels of 1 micron: 512 of the base
    shades = [np.asarray(read_image(ref), dtype=float).mean((0, 1)) for ref in item.refs]
    assert all(read_image(ref).size == (slide.TILE, slide.TILE) for ref in item.refs[:2])
    for (left, top, _, _), shade in zip(item.places, shades, strict=True):
        assert 0.1 <= top <= 0.8
        assert 0.0 <= left <= 0.9
        assert not 0.4 <= left <= 0.5  # the glass between
        if left in (0.2, 0.7) and 0.2 < top < 0.7:  # tissue to all edges
            assert np.abs(shade - (PINK if left < 0.5 else VIOLET)).max() < 8
    assert read_image(item.middle).size == (640, 640)  # the overview


@pytest.mark.slow
@pytest.mark.parametrize("ome", [True, False])
def test_a_pyramid_in_sub_ifds_is_a_slide_like_one_of_pages_in_an_archive_too(
    slides: Path, tmp_path: Path, ome: bool
) -> None:
    with tifffile.TiffFile(slides / "b.tif") as pages:
        base = pages.pages[0].asarray()
    with tifffile.TiffWriter(tmp_path / "c.tif", ome=ome) as tiff:
        for step in (1, 2, 8):
            tiff.write(
                base[::step, ::step], tile=(256, 256), photometric="rgb", compression="jpeg",
                metadata={"axes": "YXS"} if ome and step == 1 else None,
                subfiletype=int(step > 1), subifds=2 if step == 1 else None,
            )  # fmt: skip
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.write(tmp_path / "c.tif", "c.tif")
    (expected,) = items_of(find_images(slides / "b.tif"))
    for source in (tmp_path / "c.tif", tmp_path / "c.zip"):
        (item,) = items_of(find_images(source))
        assert (item.path, item.kind, item.places) == ("c.tif", "slide", expected.places)
        assert read_image(item.middle).size == (2560, 2560)  # the largest level that is read as a whole
        for ref, same in zip(item.refs[::9], expected.refs[::9], strict=True):
            shown, other = (np.asarray(read_image(one), dtype=float) for one in (ref, same))
            assert np.abs(shown - other).mean() < 4


@pytest.mark.slow
def test_tiles_may_have_a_row_each(slides: Path) -> None:
    refs = find_images(slides)
    assert [item.kind for item in items_of(refs, "series")] == ["slide", "slide"]
    assert all(item.kind == "image" for item in items_of(refs, "image"))
    assert len(items_of(refs, "image")) == len(refs) > 20


@pytest.mark.slow
def test_a_person_goes_through_overview_and_tiles(slides: Path) -> None:
    (item,) = items_of(find_images(slides / "a.svs"))
    ref = item.middle
    told = stack_of(ref, item.refs[3].path)
    assert told == {"slices": len(item.refs) + 1, "middle": 0, "telling": 4}
    assert slice_of(ref, 0).frame is None
    assert slice_of(ref, 4) == item.refs[3]


def test_tissue_of_any_slide_and_of_one_without_glass() -> None:
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(0.05, 0.02, 900), rng.normal(0.5, 0.05, 100)]).clip(0, 1)
    assert 0.1 < slide.otsu(two) < 0.45
    assert np.isfinite(slide.otsu(np.full(50, 0.3)))


@pytest.mark.slow
def test_a_run_has_one_label_a_slide_and_a_heat_map(slides: Path, tmp_path: Path) -> None:
    annotator = Annotator(
        {"pink": "a plain pink picture", "violet": "a plain dark violet picture"},
        student="none",
        cache=tmp_path / "cache",
    )
    run = annotator.label(slides)
    assert list(run.table["path"]) == ["a.svs", "b.tif"]
    assert set(run.table["item"]) == {"slide"}
    tiles = {item.path: len(item.refs) for item in items_of(find(slides).refs)}
    assert dict(zip(run.table["path"], run.table["slices"].astype(int), strict=True)) == tiles
    assert {path: len(tiles) for path, tiles in run.record.heat_maps.items()} == tiles
    run.save(tmp_path / "run")
    report = (tmp_path / "run" / "report.html").read_text()
    shown = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]+alt="Heat map of (\S+),', report)
    assert sorted(path for _, path in shown) == ["a.svs", "b.tif"]
    picture = Image.open(io.BytesIO(base64.b64decode(next(data for data, path in shown if path == "a.svs"))))
    pixels = np.asarray(picture, dtype=float)
    assert np.abs(pixels[5:20].mean((0, 1)) - GLASS).max() < 8  # the glass has no colour on it
    left, right = (pixels[150:170, columns].mean((0, 1)) for columns in (slice(60, 100), slice(220, 260)))
    assert np.abs(left - PINK).max() > 25
    assert np.abs(left - right).max() > 25
    again = Annotations.load(tmp_path / "run")
    updated = Annotator.from_run(again).update(again)
    assert list(updated.table["label"]) == list(run.table["label"])


def test_a_large_tiled_tiff_without_a_pyramid_is_one_picture(tmp_path: Path) -> None:
    shade = np.zeros((5300, 5300), np.uint8)
    shade[::7] = 90
    tifffile.imwrite(tmp_path / "radiograph.tif", shade, tile=(512, 512))
    assert [ref.path for ref in find_images(tmp_path)] == ["radiograph.tif"]
