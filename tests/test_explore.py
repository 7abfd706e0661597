"""Explore: what covariates the images tell, groups, metadata, the files, and the page in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import draw_images, make_run
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from autoannotate import Annotations
from autoannotate.answers.store import AnswerStore
from autoannotate.errors import InputError, UsageError
from autoannotate.explore import associations, groups, risks
from autoannotate.explore.dicom_tags import chosen_tags, with_tags
from autoannotate.explore.queue import put_first
from autoannotate.images import find_images
from autoannotate.labelling.neighbours import nearest
from autoannotate.runs.metadata import Metadata, as_column, read_metadata

RNG = np.random.default_rng(3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_are_benjamini_and_hochbergs(p: list[float]) -> None:
    assert np.allclose(associations.benjamini_hochberg(np.array(p)), false_discovery_control(p))


@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(0, 10**6))
def test_auroc_is_scikit_learns(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.arange(n) < max(1, n // 3))
    scores = rng.integers(0, 5, n) / 4
    assert associations.auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 10**6))
def test_a_group_is_in_one_fold(n: int, many: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, many, n)
    fold = associations.folds_of(ids, np.random.default_rng(seed))
    assert all(len(set(fold[ids == one])) == 1 for one in set(ids))


def test_a_planted_covariate_is_seen_and_a_random_one_is_not() -> None:
    points = RNG.normal(size=(300, 20))
    alone = np.arange(300)
    number = points[:, 3] + RNG.normal(size=300)
    category = (points[:, 5] > 0).astype(np.int64)
    seen = associations.predictability(points, number, alone, permutations=199)
    assert seen.statistic == "r2"
    assert 0.3 < seen.value < 0.6
    assert seen.p == pytest.approx(1 / 200)
    assert seen.low < seen.value < seen.high
    assert associations.predictability(points, category, alone, permutations=199).value > 0.9
    values = [associations.predictability(points, RNG.normal(size=300), alone, permutations=199).p for _ in range(20)]
    assert np.mean(np.array(values) < 0.05) <= 0.2


def test_a_covariate_of_groups_is_not_seen_by_recognising_the_group() -> None:
    """Ten images a patient, alike; a column of the patient that has nothing to do with the images."""
    patient = np.repeat(np.arange(30), 10)
    rng = np.random.default_rng(3)
    points = rng.normal(size=(30, 20))[patient] + 0.05 * rng.normal(size=(300, 20))
    number = rng.normal(size=30)[patient]
    assert associations.predictability(points, number, np.arange(300), permutations=49).value > 0.15
    assert associations.predictability(points, number, patient, permutations=99).p > 0.02


def test_unknown_values_and_outliers_do_not_decide() -> None:
    points = RNG.normal(size=(200, 10))
    number = points[:, 0].copy()
    number[:5], number[5:9] = np.nan, 1e9
    found = associations.predictability(points, number, np.arange(200), permutations=19)
    assert found.value > 0.6
    assert np.isnan(found.predicted[:5]).all()


def test_a_scanner_that_predicts_a_label_as_well_as_the_images_is_a_shortcut() -> None:
    scanner = RNG.integers(0, 2, 400)
    label = np.where(RNG.random(400) < 0.9, scanner, 1 - scanner)
    points = RNG.normal(size=(400, 10))
    points[:, 0] += 3 * scanner
    (found,) = risks.shortcuts(points, label, ["no", "yes"], "scanner", scanner, np.arange(400))
    assert found.risk == "shortcut"
    assert found.level == "yes"
    assert found.low > 0.8
    (found,) = risks.shortcuts(points, label, ["no", "yes"], "age_class", scanner, np.arange(400))
    assert found.risk == "confounder"
    points[:, 1] += 5 * label
    (found,) = risks.shortcuts(points, label, ["no", "yes"], "scanner", RNG.integers(0, 2, 400), np.arange(400))
    assert found.risk == ""
    assert found.images_auroc > 0.95


def test_images_that_owe_a_part_to_the_scanner_are_a_partial_shortcut() -> None:
    rng = np.random.default_rng(3)
    scanner = rng.integers(0, 2, 600)
    label = (rng.random(600) < np.where(scanner == 1, 0.7, 0.3)).astype(int)
    points = rng.normal(size=(600, 10))
    points[:, 0] += 4 * scanner
    points[:, 1] += 1.5 * label
    (found,) = risks.shortcuts(points, label, ["no", "yes"], "scanner", scanner, np.arange(600))
    assert found.risk == "partial shortcut"
    assert found.column_auroc < found.within_auroc < found.images_auroc
    points[:, 0] = 0.0
    (found,) = risks.shortcuts(points, label, ["no", "yes"], "scanner", rng.permutation(scanner), np.arange(600))
    assert found.risk == ""


def test_a_slice_with_more_doubtful_labels_comes_first() -> None:
    site = RNG.integers(0, 4, 800)
    wrong = RNG.random(800) < np.where(site == 2, 0.3, 0.05)
    found = risks.slices(wrong, [("site", site, list("abcd"))])
    assert (found[0].level, found[0].q < 0.001) == ("c", True)
    assert found[0].effect.value > 0.15


def test_clusters_are_found_at_several_levels() -> None:
    pytest.importorskip("sknetwork")
    centres = np.repeat(np.eye(12)[:4], 60, axis=0)
    points = centres + 0.15 * RNG.normal(size=centres.shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    near = nearest(points, 15)
    levels = groups.cluster_levels(near)
    assert any(len({(a, b) for a, b in zip(codes, np.repeat(range(4), 60), strict=True)}) == 4 for codes in levels)
    assert (groups.cluster_levels(near) == levels).all()
    strange = np.vstack([points, -np.eye(12)[:1]])
    assert groups.outliers(groups.outlier_scores(nearest(strange, 15)))[0] == 240


# Metadata

PATHS = [f"a/{i}.png" for i in range(40)]


def table(folder: Path, **columns: Any) -> Path:
    pd.DataFrame({"path": PATHS, **columns}).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def test_metadata_has_numbers_dates_categories_and_groups(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        age=[str(20 + i) for i in range(39)] + ["?"],
        sex=["F", "M"] * 20,
        date=[f"2020-01-{i % 28 + 1:02}" for i in range(40)],
        patient=[f"P{i // 2}" for i in range(40)],
        patient_name=["Ada"] * 40,
        site=["x"] * 40,
    )
    found = read_metadata(file, PATHS)
    assert [(c.name, c.levels) for c in found.columns] == [("age", ()), ("sex", ("F", "M")), ("date", ())]
    assert np.isnan(found.columns[0].values[-1])
    assert len(set(found.groups)) == 20
    assert any("patient_name" in note for note in found.notes)
    assert not any("Ada" in note for note in found.notes)
    assert any(note.startswith("site has one value") for note in found.notes)


def test_rows_of_unknown_images_are_told_and_the_rest_is_used(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path;sex\nimages/a/1.png;F\na/2.png;M\nnowhere.png;F\n")
    found = read_metadata(tmp_path / "m.csv", PATHS)
    assert found.columns[0].values[[1, 2]].tolist() == [0, 1]
    assert "1 row of m.csv name no image here: nowhere.png." in found.notes
    assert any(note.startswith("38 images have no row") for note in found.notes)


def test_cells_that_are_no_numbers_are_told_and_count_as_unknown(tmp_path: Path) -> None:
    found = read_metadata(table(tmp_path, age=["old", *range(20, 58), "inf"]), PATHS)
    assert found.columns[0].known.sum() == 38
    assert (
        "age is a number, but for 2 cells, which count as unknown: 'old' (a/0.png) and 'inf' (a/39.png)." in found.notes
    )
    assert "m.csv has no column besides path" in read_metadata(table(tmp_path), PATHS).notes[-1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,age\nelse.png,4\n", "None of the rows"),
        ("age,sex\n4,F\n", "needs a column `path`"),
        ("path,age\n", "no rows"),
        ("path,age\na/1.png,4\na/1.png,5\n", "more than one row"),
    ],
)
def test_bad_metadata_is_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        read_metadata(tmp_path / "m.csv", PATHS)


def test_dicom_headers_give_columns_that_identify_nobody(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    for i in range(24):
        header = dcmread(str(get_testdata_file("CT_small.dcm")))
        header.PatientName, header.PatientID = "Ada^Lovelace", f"ID{i}"
        header.PatientSex, header.PatientAge, header.Manufacturer = (
            "FM"[i % 2],
            f"{20 + 4 * i:03}Y",
            ["X", "Y"][i % 3 > 0],
        )
        header.save_as(tmp_path / f"{i:02}.dcm")
    refs = find_images(tmp_path)
    found = with_tags(Metadata.none(24), refs, chosen_tags("patientsex,PatientAge,Manufacturer,Modality"))
    assert [(column.name, column.levels) for column in found.columns] == [
        ("PatientSex", ("F", "M")), ("PatientAge", ()), ("Manufacturer", ("X", "Y"))
    ]  # fmt: skip
    assert found.columns[1].values.max() == 89
    assert found.notes == ("Modality has one value: nothing can go with it.",)
    for tag in ("PatientName", "PatientID", "StudyDate", "InstitutionName", "StudyInstanceUID", "StationName"):
        with pytest.raises(UsageError, match="identify nobody"):
            chosen_tags(tag)


def test_free_text_is_no_covariate() -> None:
    assert isinstance(as_column("remark", [f"text {i}" for i in range(40)]), str)


# Runs

MANY = [f"{'ab'[i % 2]}/{i}.png" for i in range(24)]


def test_chosen_images_come_first_in_the_queue(tmp_path: Path) -> None:
    make_run(tmp_path / "images", MANY).save(tmp_path / "run")
    assert put_first(tmp_path / "run", [MANY[5], MANY[0]]) == 2
    run = Annotations.load(tmp_path / "run")
    assert run.suspects["path"].tolist()[:2] == [MANY[5], MANY[0]]
    assert run.suspects["rank"].tolist() == [1, 2]
    assert set(run.table.query("suspect == 1")["path"]) == {MANY[0], MANY[5]}
    assert run.history[-1].what == "queue"


def command(*options: object) -> list[str]:
    return [sys.executable, "-m", "autoannotate", "explore", *map(str, options)]


@pytest.mark.slow
def test_exploring_images_before_any_labels_writes_the_same_files_twice(tmp_path: Path) -> None:
    pytest.importorskip("openTSNE")
    draw_images(tmp_path / "images", MANY)
    pd.DataFrame({"path": MANY, "site": ["x", "y"] * 12}).to_csv(tmp_path / "m.csv", index=False)
    for out in ("one", "two"):
        subprocess.run(
            command(tmp_path / "images", "--metadata", tmp_path / "m.csv", "--out", tmp_path / out, "--no-page"),
            check=True,
        )
    for name in ("map.parquet", "clusters.csv", "associations.csv", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    table = pd.read_parquet(tmp_path / "one" / "map.parquet").set_index("path")
    assert table.loc[MANY, "site"].tolist() == ["x", "y"] * 12
    assert "http" not in re.sub(r"http://www\.w3\.org\S*", "", (tmp_path / "one" / "report.html").read_text())


def chromium() -> str | None:
    known = (os.environ.get("AUTOANNOTATE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in known if name and (found := shutil.which(name))), None)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """The page of a run, in Chromium."""
    pytest.importorskip("openTSNE")
    playwright = pytest.importorskip("playwright.sync_api")
    if chromium() is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or set AUTOANNOTATE_CHROMIUM")
    make_run(tmp_path / "images", MANY).save(tmp_path / "run")
    process = subprocess.Popen(
        command(tmp_path / "run", "--no-browser", "--reader", "Ana"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    try:
        with playwright.sync_playwright() as started:
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            flags = [*sandbox, "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
            browser = started.chromium.launch(executable_path=chromium(), args=flags)
            opened = browser.new_page(viewport={"width": 1300, "height": 850}, bypass_csp=True)
            opened.set_default_timeout(60_000)
            opened.problems = []
            opened.on("pageerror", lambda error: opened.problems.append(str(error)))
            opened.goto(url)
            opened.wait_for_selector("#legend strong")
            yield opened
            assert opened.problems == []
            browser.close()
    finally:
        process.terminate()
        process.wait(20)


def relayed(route: Any) -> dict[str, Any]:
    """The answer to a request that is passed on as it came."""
    response = route.fetch()
    route.fulfill(response=response)
    return response.json()


@pytest.mark.slow
def test_the_page_draws_searches_and_labels_what_the_lasso_holds(page: Any, tmp_path: Path) -> None:
    coloured = "(c) => { const gl = c.getContext('webgl'); const p = new Uint8Array(4 * c.width * c.height);"
    coloured += " gl.readPixels(0, 0, c.width, c.height, gl.RGBA, gl.UNSIGNED_BYTE, p); return p.some((v) => v > 0); }"
    for _ in range(100):  # drawn with the next frame
        if drawn := page.locator("#map canvas").first.evaluate(coloured):
            break
        page.wait_for_timeout(100)
    assert drawn
    page.fill("#words", "a bright disc")
    page.press("#words", "Enter")
    page.wait_for_selector("#found button >> nth=5")
    assert int(page.locator("#gridTitle").get_attribute("data-ms")) < 300
    nearest: list[int] = []
    page.route("**/api/picture", lambda route: nearest.extend(relayed(route)["rows"]))
    page.set_input_files("#file", str(tmp_path / "images" / MANY[7]))
    for _ in range(100):
        if nearest:
            break
        page.wait_for_timeout(100)
    assert nearest[0] == [*MANY[::2], *MANY[1::2]].index(MANY[7])  # in path order
    page.click("#fit")
    box = page.locator("#map").bounding_box()
    page.click("#lasso")
    left, top = box["x"] + 2, box["y"] + 2
    right, low = box["x"] + box["width"] - 2, box["y"] + box["height"] - 2
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, low), (left, low)):
        page.mouse.move(x, y)
    page.mouse.up()
    page.wait_for_selector("text=Chosen on the map · 24 images")
    drawn = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"
    assert not page.locator("#map canvas").nth(1).evaluate(drawn), "the lasso goes when it is closed"
    page.select_option("#label", "breast")
    page.click("#labelAll")
    page.wait_for_selector("text=24 images labelled breast by Ana.")
    with AnswerStore(tmp_path / "run") as store:
        assert {answer.label for answer in store.current("Ana")} == {"breast"}
        assert len(store.current("Ana")) == 24
    page.click("#undo")
    page.wait_for_selector("text=24 answers taken back.")
    with page.expect_download() as download:
        page.click("#export")
    assert len(pd.read_csv(download.value.path())) == 24
    many = "fetch('/api/queue', {method: 'POST', headers: {'Content-Type': 'application/json'},"
    many += " body: `{\"rows\":[${Array(200000).fill('     3').join()}]}`}).then((answer) => answer.status)"
    assert page.evaluate(many) == 200, "a lasso around a whole collection of 200,000"
    page.click("#queue")
    page.wait_for_selector("text=24 images put first in the queue")
    assert len(Annotations.load(tmp_path / "run").suspects) == 24


@pytest.mark.slow
def test_axe_finds_nothing_serious(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for size in ((1300, 850), (820, 1180), (390, 844)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_timeout(300)
        if folder := os.environ.get("AUTOANNOTATE_SCREENSHOTS"):  # to look at
            page.screenshot(path=Path(folder) / f"explore-{size[0]}.png")
        found = [one for one in axe.run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == [], size
        assert page.is_visible("h1"), size
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
