"""An answer never lands on another image than the one that is named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import draw_images, make_run

from autoannotate import Annotations
from autoannotate.answers.apply import NothingAppliedError, apply
from autoannotate.answers.given_labels import read_given_labels
from autoannotate.answers.image_names import ImageNames
from autoannotate.errors import InputError
from autoannotate.images import find_images

MIXED = ("scan1.jpg", "scan2.jpg", "scan3.png", "pat1/scan1.jpg", "pat1/scan2.jpg", "pat2/scan1.jpg", "pat2/b c.png",
         "pat2/größe.png", "ct.dcm#0", "ct.dcm#1", "deep/pat3/only.png")  # fmt: skip
CERTAIN = {
    "pat1/scan1.jpg": "pat1/scan1.jpg",
    "./pat1/scan1.jpg": "pat1/scan1.jpg",
    "pat1\\scan1.jpg": "pat1/scan1.jpg",
    "scan1.jpg": "scan1.jpg",
    "/data/mix/pat1/scan1.jpg": "pat1/scan1.jpg",
    "D:\\data\\mix\\pat1\\scan1.jpg": "pat1/scan1.jpg",
    "/elsewhere/mix/scan1.jpg": "scan1.jpg",
    "amb/pat1/scan1.jpg": "pat1/scan1.jpg",
    "https://pacs.local/pat1/scan1.jpg?token=x": "pat1/scan1.jpg",
    "s3://bucket/pat2/b%20c.png": "pat2/b c.png",
    "/data/local-files/?d=mix/pat1/scan2.jpg": "pat1/scan2.jpg",
    "/data/local-files/?d=mix%2Fpat2%2Fb%20c.png": "pat2/b c.png",
    "http://localhost:8080/data/local-files/?d=pat2/b+c.png": "pat2/b c.png",
    "/data/upload/3/1a2b3c4d-b_c.png": "pat2/b c.png",
    "/data/upload/3/1a2b3c4d-only.png": "deep/pat3/only.png",
    "1a2b3c4d-only.png": "deep/pat3/only.png",
    "only.png": "deep/pat3/only.png",
    "pat3/only.png": "deep/pat3/only.png",
    unicodedata.normalize("NFD", "pat2/größe.png"): "pat2/größe.png",
    "/x/" + unicodedata.normalize("NFD", "pat2/größe.png"): "pat2/größe.png",
    "PAT2\\B C.PNG": "pat2/b c.png",
    "D:\\mix\\ct.dcm#1": "ct.dcm#1",
    "images/pat1__scan1.jpg": "pat1/scan1.jpg",
    "/data/upload/7/1a2b3c4d-pat1__scan1.jpg": "pat1/scan1.jpg",
    "ct-frame-0001.png": "ct.dcm#1",
}
UNCERTAIN = (
    "/data/mix/pat9/scan2.jpg", "pat9/scan2.jpg", "D:\\images\\scan3.jpg", "scan3.tif", "scan1.png", "pat1/scan1.png",
    "/data/upload/3/1a2b3c4d-scan1.jpg", "https://pacs.local/pat9/scan1.jpg", "/data/local-files/?d=pat9/scan2.jpg",
    "other.png", "", "/", "data:image/png;base64,AAAA", "ct.dcm", "ct.dcm#2", "can1.jpg", "at1/scan1.jpg", "pat9/only.png",
)  # fmt: skip


@pytest.fixture
def names() -> ImageNames:
    return ImageNames(MIXED, root=Path("/srv/mix"))


@pytest.mark.parametrize(("name", "path"), CERTAIN.items())
def test_what_a_name_means(names: ImageNames, name: str, path: str) -> None:
    assert names.find(name).path == path


@pytest.mark.parametrize("name", UNCERTAIN)
def test_what_is_uncertain_is_no_image(names: ImageNames, name: str) -> None:
    match = names.find(name)
    assert match.path is None
    assert match.problem.startswith("the run has no such image")
    assert all(candidate in match.problem for candidate in match.candidates[:4])


def test_a_problem_names_the_candidates_and_the_way_out(names: ImageNames) -> None:
    assert "could be pat1/scan1.jpg, pat2/scan1.jpg" in ImageNames(MIXED[3:]).find("scan1.jpg").problem
    assert "--images-in data/mix/pat9" in names.find("/data/mix/pat9/scan2.jpg").problem
    moved = ImageNames(MIXED, root=Path("/srv/mix"), images_in="D:\\old place")
    assert moved.find("D:\\old place\\scan2.jpg").path == "scan2.jpg"
    assert moved.find("d:/old place/pat1/scan2.jpg").path == "pat1/scan2.jpg"
    assert moved.find("D:\\old place\\pat9\\scan2.jpg").path is None


def test_a_file_that_is_there_and_is_another_is_not_taken_for_the_image(tmp_path: Path) -> None:
    draw_images(tmp_path / "ours", ["pat1/1.png"])
    draw_images(tmp_path / "theirs", ["pat1/1.png"])
    names = ImageNames(["pat1/1.png"], root=tmp_path / "ours")
    assert names.find(str(tmp_path / "ours" / "pat1" / "1.png")).path == "pat1/1.png"
    match = names.find(str(tmp_path / "theirs" / "pat1" / "1.png"))
    assert match.path is None
    assert "is another file than the run's pat1/1.png" in match.problem


def test_copies_are_known_by_the_names_under_which_they_were_exported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "scans", ("b/a.png", "b__a.png", "c.bmp"))
    run.save(tmp_path / "run")
    assert ImageNames.of(run).find("images/c.png", by_file=True).path is None  # nothing was exported yet
    run.export("cvat", tmp_path / "cvat", what="all")
    found = {file.name for file in (tmp_path / "cvat" / "images").iterdir()}
    names = ImageNames.of(run)
    assert found == {"b__a.png", "b__a-2.png", "c.png"}
    assert names.find("images/c.png", by_file=True).path == "c.bmp"
    assert names.find("pat7/c.png", by_file=True).path is None
    assert names.find("b__a-2.png", by_file=True).path == "b__a.png"
    assert names.find("b__a.png").path == "b__a.png"  # a table of paths
    assert names.find("b__a.png", by_file=True).candidates == (
        "b__a.png",
        "b/a.png",
    )  # the copy of one, the path of another


PARTS = st.lists(st.sampled_from(["a", "A", "b", "pat1", "pat2", "x.png", "x.jpg", "y.png", "1a2b3c4d-x.png"]), min_size=1,
                 max_size=4)  # fmt: skip


def test_a_prefix_like_that_of_an_upload_is_part_of_a_name_where_there_is_such_a_file() -> None:
    run = [
        "pat1/scan1.jpg",
        "pat2/1a2b3c4d-scan1.jpg",
        "pat3/b c.jpg",
        "pat4/b_c.jpg",
        "pat5/Only.jpg",
        "pat6/only.JPG",
    ]
    names = ImageNames([*run, "1a2b3c4d-root.jpg", "pat7/root.jpg"], root=Path("/srv/mix"))
    assert names.find("/data/upload/3/9f8e7d6c-1a2b3c4d-scan1.jpg").path == "pat2/1a2b3c4d-scan1.jpg"
    assert names.find("9f8e7d6c-1a2b3c4d-scan1.jpg").path == "pat2/1a2b3c4d-scan1.jpg"
    assert names.find("/elsewhere/1a2b3c4d-root.jpg").path is None, "never the file without the prefix"
    assert names.find("pat9/1a2b3c4d-scan9.jpg").path is None
    assert names.find("pat1/9f8e7d6c-scan1.jpg").path is None, "uploads lie in no patient's folder"
    assert names.find("/data/upload/3/9f8e7d6c-b_c.jpg").candidates == ("pat3/b c.jpg", "pat4/b_c.jpg")
    assert names.find("../../data/media/upload/3/9f8e7d6c-scan1.jpg").path == "pat1/scan1.jpg"
    assert names.find("only.jpg").path is None, "either case of letters could be meant"


def test_a_plus_in_an_address_may_be_a_space() -> None:
    names = ImageNames(["p/a+b.png", "p/a b.png", "q/c+d.png", "q/e f.png"], root=Path("/srv/mix"))
    assert names.find("/data/local-files/?d=mix/p/a+b.png").candidates == ("p/a+b.png", "p/a b.png")
    assert names.find("/data/local-files/?d=mix/p/a%2Bb.png").path == "p/a+b.png"
    assert names.find("/data/local-files/?d=mix/q/c+d.png").path == "q/c+d.png"
    assert names.find("/data/local-files/?d=mix/q/e+f.png").path == "q/e f.png"


@given(st.lists(PARTS, min_size=1, max_size=6, unique_by=tuple), PARTS)
def test_a_match_has_the_same_file_name_and_no_other_folder(paths: list[list[str]], name: list[str]) -> None:
    known = ["/".join(parts) for parts in paths]
    path = ImageNames(known, root=Path("/srv/b")).find("/".join(name)).path
    if path is not None:
        ours, theirs = ([part.casefold() for part in PurePosixPath(each).parts] for each in (path, "/".join(name)))
        shorter = min(len(ours), len(theirs))
        uploaded = theirs[-1].removeprefix("1a2b3c4d-") == ours[-1]
        assert ours[-shorter:] == theirs[-shorter:] or (uploaded and len(known) > 0)


@given(st.lists(PARTS, min_size=1, max_size=6, unique_by=tuple))
def test_every_path_means_itself(paths: list[list[str]]) -> None:
    known = ["/".join(parts) for parts in paths]
    names = ImageNames(known, root=Path("/srv/mix"))
    assert [names.find(path).path for path in known] == known
    assert [names.find(f"/srv/mix/{path}").path for path in known] == known


# what other tools write


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    make_run(tmp_path / "amb", ("img1.png", "pat1/img1.jpg", "pat2/img1.jpg")).save(tmp_path / "run")
    return Annotations.load(tmp_path / "run")


@pytest.mark.parametrize(
    "content",
    [
        "path,answer\namb/pat1/img1.jpg,breast\n",
        '<annotations><version>1.1</version><image id="0" name="data/amb/pat1/img1.jpg" width="3" height="3">'
        '<tag label="breast" source="manual"/></image></annotations>',
        json.dumps([{"id": 1, "data": {"image": "/data/local-files/?d=amb/pat1/img1.jpg"}, "annotations": [
            {"completed_by": 1, "result": [{"from_name": "x", "type": "choices", "value": {"choices": ["breast"]}}]}]}]),
        "image,id,finding,annotator,annotation_id\nhttps://pacs.local/pat1/img1.jpg,1,breast,2,3\n",
    ],
)  # fmt: skip
def test_each_format_names_the_image_that_it_means(run: Annotations, tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    applied = apply(run, tmp_path / "file")
    table = applied.annotations.table
    assert table["path"][table["source"] == "clinician"].tolist() == ["pat1/img1.jpg"]


def test_an_uncertain_name_is_a_problem_row(run: Annotations, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,answer\n/data/pat9/img1.png,breast\n")
    with pytest.raises(NothingAppliedError) as caught:
        apply(run, tmp_path / "a.csv")
    assert "it could be img1.png" in caught.value.report["problem"][0]
    assert apply(run, tmp_path / "a.csv", images_in="/data/pat9").count("applied") == 1


# which column or control holds the answers


def min_entry(**known: object) -> str:
    return json.dumps([{"id": 1, "path": "img1.png", "label": "chest"} | known | {"annotator": 1}])


@pytest.mark.parametrize(
    "content",
    [
        "path,label,id,diagnosis,annotator,annotation_id\nimg1.png,chest,5,breast,1,9\n",
        "path,label,id,quality,diagnosis,annotator,annotation_id\nimg1.png,chest,5,good,breast,1,9\n",
        "image,id,label,annotator,annotation_id\n/data/upload/1/1a2b3c4d-img1.png,5,breast,1,9\n",
        'path,label,id,diagnosis,annotator,annotation_id\nimg1.png,chest,5,"{""choices"": [""breast""]}",1,9\n',
        min_entry(diagnosis="breast"),
        min_entry(quality="good", diagnosis={"choices": ["breast"]}),
        min_entry(diagnosis="chest", answer="breast"),
    ],
)
def test_the_control_that_holds_the_answers_is_found(tmp_path: Path, content: str) -> None:
    make_run(tmp_path / "scans", ("img1.png", "2.png")).save(tmp_path / "run")
    (tmp_path / "file").write_text(content)
    applied = apply(Annotations.load(tmp_path / "run"), tmp_path / "file")
    assert applied.report[["path", "reader", "answer", "outcome"]].to_numpy().tolist() == [
        ["img1.png", "annotator 1", "breast", "applied"]
    ]


@pytest.mark.parametrize(
    "content",
    [
        "path,label,id,annotator,annotation_id\nimg1.png,chest,5,1,9\n",
        "path,label,id,diagnosis,annotator,annotation_id\nimg1.png,chest,5,,1,9\n",
        min_entry(),
    ],
)
def test_without_an_answer_the_machines_label_is_not_taken_for_one(tmp_path: Path, content: str) -> None:
    make_run(tmp_path / "scans", ("img1.png", "2.png")).save(tmp_path / "run")
    (tmp_path / "file").write_text(content)
    with pytest.raises(InputError, match="holds no answers"):
        apply(Annotations.load(tmp_path / "run"), tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        "path,label,id,first,second,annotator,annotation_id\nimg1.png,chest,5,chest,breast,1,9\n",
        min_entry(first="chest", second="breast"),
    ],
)
def test_several_controls_are_named_and_one_can_be_chosen(tmp_path: Path, content: str) -> None:
    make_run(tmp_path / "scans", ("img1.png", "2.png")).save(tmp_path / "run")
    run = Annotations.load(tmp_path / "run")
    (tmp_path / "file").write_text(content)
    with pytest.raises(InputError, match=r"\(first and second\): say which with --control"):
        apply(run, tmp_path / "file")
    with pytest.raises(InputError, match="no control or column 'third' with answers"):
        apply(run, tmp_path / "file", control="third")
    assert apply(run, tmp_path / "file", control="second").report["answer"].tolist() == ["breast"]


def test_a_later_annotation_of_a_user_replaces_the_earlier_and_a_tie_of_two_settles_nothing(tmp_path: Path) -> None:
    def annotation(who: int, word: str, hour: int) -> dict[str, object]:
        result = [{"from_name": "answer", "type": "choices", "value": {"choices": [word]}}]
        return {"id": hour, "completed_by": who, "result": result, "updated_at": f"2026-11-28T{hour:02}:00:00Z"}

    make_run(tmp_path / "scans", ("img1.png", "2.png")).save(tmp_path / "run")
    run = Annotations.load(tmp_path / "run")
    task = {
        "id": 1,
        "data": {"path": "img1.png"},
        "annotations": [annotation(1, "breast", 8), annotation(1, "chest", 9)],
    }
    (tmp_path / "e.json").write_text(json.dumps([task]))
    assert apply(run, tmp_path / "e.json").report[["answer", "outcome"]].to_numpy().tolist() == [
        ["breast", "older"], ["chest", "applied"],
    ]  # fmt: skip
    task["annotations"] = [annotation(2, "breast", 8), annotation(3, "chest", 8)]
    task["data"] = {"path": "2.png"}
    (tmp_path / "e.json").write_text(json.dumps([task]))
    tied = apply(run, tmp_path / "e.json")
    assert tied.report["outcome"].tolist() == ["waits", "waits"]
    assert tied.annotations.table["source"].tolist() == ["clinician", "clip"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("D:\\z\\mix\\pat1\\img1.jpg", "pat1/img1.jpg"),
        ("/elsewhere/amb/img1.png", "img1.png"),
        ("/data/upload/3/1a2b3c4d-img1.png", "img1.png"),
        ("ISIC_1", "ISIC_1.jpg"),  # tables of ids
        ("/data/pat9/img1.png", None),
        ("img1.tif", None),
        ("pat9/ISIC_1", None),
    ],
)
def test_labels_that_exist_land_on_the_image_that_is_named(tmp_path: Path, name: str, path: str | None) -> None:
    draw_images(tmp_path / "amb", ["img1.png", "pat1/img1.jpg", "pat2/img1.jpg", "ISIC_1.jpg"])
    (tmp_path / "labels.csv").write_text(f"path,label\n{name},chest\n")
    refs = find_images(tmp_path / "amb")
    if path is None:
        with pytest.raises(InputError, match="names images that are not there"):
            read_given_labels(tmp_path / "labels.csv", refs, partial=True)
    else:
        found = read_given_labels(tmp_path / "labels.csv", refs, partial=True)
        assert [ref.path for ref, label in zip(refs, found.labels, strict=True) if label] == [path]
