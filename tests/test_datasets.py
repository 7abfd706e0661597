"""Images whose classes are known: every form that a labelled set comes in, fair samples and splits of it, plain refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.datasets import download, read_labelled, split_name
from autoannotate.evaluation.labelled_set import balanced_sample, squashed, stratified_split
from autoannotate.images import read_image


def picture(file: Path, shade: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 12), (shade, 90, 120)).save(file)
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes as sub-folders, one with folders in it, and an image beside them."""
    for i, name in enumerate(["cat/a.png", "cat/b.png", "dog/old/c.png", "dog/d.png", "stray.png"]):
        picture(tmp_path / "tree" / name, i * 20)
    return tmp_path / "tree"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with labels.csv, a second reader's labels and a group column."""
    folder = tmp_path / "table"
    lines = ["path,label,given,lesion_id"]
    for i in range(6):
        picture(folder / "images" / f"{i}.png", i * 20)
        lines.append(f"images/{i}.png,{'mel' if i < 3 else 'nv'},{'mel' if i < 4 else 'nv'},{'L1' if i < 2 else ''}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_sub_folders_are_classes_and_what_lies_beside_them_is_said(tree: Path) -> None:
    data = read_labelled([tree])
    assert data.counts() == {"cat": 2, "dog": 2}
    assert [ref.path for ref in data.refs] == ["cat/a.png", "cat/b.png", "dog/d.png", "dog/old/c.png"]
    assert data.notes == ("1 of 5 images in tree lie in no class folder and are left out.",)


def test_a_class_folder_without_images_is_said(tree: Path) -> None:
    (tree / "cow").mkdir()
    assert read_labelled([tree]).notes[1] == "tree has folders without images, which are no classes: cow."


def test_a_table_has_labels_a_second_reader_and_groups(table: Path) -> None:
    for source in (table, table / "labels.csv"):
        data = read_labelled([source])
        assert data.class_names == ["mel", "nv"]
        assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert data.given is not None
        assert data.given.tolist() == [0, 0, 0, 0, 1, 1]
        assert data.groups is not None
        assert data.groups[0] == data.groups[1]
        assert len(set(data.groups.tolist())) == 5  # an image without an id is alone
        assert read_image(data.refs[5]).size == (20, 12)


def test_named_paths_are_classes_in_the_order_given(tree: Path, table: Path) -> None:
    data = read_labelled([f"lesion={table}", f"animal={tree / 'cat'}", f"animal={tree / 'dog'}"])
    assert data.counts() == {"lesion": 6, "animal": 4}
    assert data.refs[0].path == "lesion/images/0.png"
    assert data.groups is not None  # those of the table; every image of a plain folder is alone
    assert len(set(data.groups.tolist())) == 5 + 4


def test_one_label_of_a_set_can_be_a_class(table: Path) -> None:
    data = read_labelled([f"melanoma={table}:mel", f"nevus={table}:nv"])
    assert data.counts() == {"melanoma": 3, "nevus": 3}


def test_an_equals_sign_in_a_path_is_no_name(tmp_path: Path, tree: Path) -> None:
    odd = tree.rename(tmp_path / "a=b")
    assert split_name(str(odd)) == ("", str(odd))
    assert read_labelled([odd]).counts() == {"cat": 2, "dog": 2}


def test_medmnist_files_have_the_packages_classes_and_their_checksum_is_said(data_dir: Path, tmp_path: Path) -> None:
    file = data_dir / "eval" / "medmnist" / "breastmnist.npz"
    data = read_labelled([file])
    assert data.counts() == {"malignant": 210, "normal, benign": 570}
    assert "is MedMNIST's own file" in data.notes[0]
    with np.load(file) as arrays:
        changed = {**arrays, "train_images": 255 - arrays["train_images"]}
    np.savez(tmp_path / "breastmnist.npz", **changed)
    assert "is not MedMNIST's own file" in read_labelled([tmp_path / "breastmnist.npz"]).notes[0]
    np.savez(tmp_path / "mine.npz", **changed)
    mine = read_labelled([tmp_path / "mine.npz"])
    assert mine.counts() == {"0": 210, "1": 570}
    assert "called by their numbers" in mine.notes[0]
    first = read_image(mine.refs[0])
    assert np.array_equal(np.asarray(first)[..., 0], changed["train_images"][0])  # labels and images in one order


def test_labels_that_say_several_things_at_once_are_refused(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 28, 28), np.uint8), np.ones((4, 14), np.uint8)
    np.savez(tmp_path / "chestmnist.npz", train_images=images, train_labels=labels)
    with pytest.raises(InputError, match="several labels at once"):
        read_labelled([tmp_path / "chestmnist.npz"])


def test_an_npz_that_is_no_medmnist_file_is_one_sentence(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 28, 28), np.uint8), np.array([[0], [1], [0], [1]])
    file = tmp_path / "set.npz"
    np.savez(file, train_images=images, train_labels=labels)
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"not a zip"):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=r"set\.npz cannot be read as a MedMNIST file: .* Fetch it again"):
            read_labelled([file])
    np.savez(file, x=images)
    with pytest.raises(InputError, match="holds no images with labels"):
        read_labelled([file])
    for odd, said in ((np.nan, "nan"), (0.5, "0.5"), (-1, "-1")):
        np.savez(file, train_images=images, train_labels=np.array([[0], [1], [0], [odd]]))
        with pytest.raises(InputError, match=rf"set\.npz has the label {said}: labels are whole numbers"):
            read_labelled([file])


def write(folder: Path, text: str) -> Path:
    picture(folder / "a.png")
    picture(folder / "b.png")
    (folder / "labels.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,class\na.png,x\n", "lacks the column label"),
        ("path,label\n", "has no rows"),
        ("path,label\na.png,x\nb.png,\n", r"row 3: b\.png has no label"),
        ("path,label\na.png,x\na.png,y\n", r"a\.png has two rows"),
        ("path,label\na.png,x\nc.png,y\nd.png,y\n", r"names c\.png \(and 1 more\), which is not in"),
        ("path,label\na.png,x\nb.png,x\n", r"one class only \(x\)"),
        ("path,label\na.png,x\nb.png,X\n", "'X' and 'x' differ in capitals only"),
        ("path,label,given\na.png,x,z\nb.png,y,y\n", "the column given has 'z'"),
        ('path,label\na.png,"x\n', "cannot be read as a table"),
        ("path,label\na.png,x,y\nb.png,y\n", "has rows with more fields than its header"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_labelled([write(tmp_path, text)])


def test_sources_that_do_not_go_together_are_refused(tree: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data is missing"):
        read_labelled([])
    with pytest.raises(UsageError, match="each needs the name of its class"):
        read_labelled([f"a={tree}", str(table)])
    with pytest.raises(InputError, match=r"There is no file or folder .*tre.* Did you mean .*tree\?"):
        read_labelled([tmp_path / "tre"])
    with pytest.raises(InputError, match="has no label 'me': its labels are mel, nv"):
        read_labelled([f"a={table}:me", f"b={tree}"])
    with pytest.raises(InputError, match="has images but no labels"):
        read_labelled([tree / "cat"])
    with pytest.raises(InputError, match=r"b/cat/a\.png is in the data twice"):
        read_labelled([f"a={tree}", f"b={tree}"])
    with pytest.raises(UsageError, match="--data is empty"):
        read_labelled([""])


def test_two_sources_of_a_name_may_have_the_same_file_names(tmp_path: Path) -> None:
    for i, name in enumerate(["first/001.png", "second/001.png", "other/001.png"]):
        picture(tmp_path / name, i)
    data = read_labelled([f"a={tmp_path / 'first'}", f"a={tmp_path / 'second'}", f"b={tmp_path / 'other'}"])
    assert [ref.path for ref in data.refs] == ["a/1/001.png", "a/2/001.png", "b/001.png"]
    assert data.counts() == {"a": 2, "b": 1}


def test_an_image_is_known_again_under_another_path(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    with pytest.raises(InputError, match=r"b/a\.png is in the data twice"):
        read_labelled(["a=cat", f"b={tree / 'cat'}"])
    (tree / "labels.csv").write_text("path,label\ncat/a.png,x\ndog/../cat/a.png,y\n")
    with pytest.raises(InputError, match=r"dog/\.\./cat/a\.png is in the data twice"):
        read_labelled([tree])


def test_the_digest_changes_with_what_a_file_of_the_same_size_holds(tmp_path: Path) -> None:
    for i, name in enumerate(["x/a.bmp", "y/b.bmp"]):
        picture(tmp_path / name, i)
    before = read_labelled([tmp_path])
    digest = before.digest()
    assert read_labelled([tmp_path]).digest() == digest
    picture(tmp_path / "x" / "a.bmp", 9)
    assert before.digest() not in (digest, "")
    (tmp_path / "x" / "a.bmp").unlink()
    assert before.digest() != digest  # a missing file is no error


def test_a_class_that_is_one_group_cannot_be_split(tmp_path: Path) -> None:
    lines = [f"{label}{i}.png,{label},{'one' if label == 'a' else i}" for label in "ab" for i in range(4)]
    for line in lines:
        picture(tmp_path / line.partition(",")[0])
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,patient", *lines]) + "\n")
    with pytest.raises(InputError, match="All images of the class 'a' are of one group"):
        read_labelled([tmp_path]).split(0.3, np.random.default_rng(0))


def test_one_label_alone_is_one_class(table: Path) -> None:
    with pytest.raises(InputError, match=r"has one class only \(mel\)"):
        read_labelled([f"{table}:mel"])


def test_a_class_with_too_few_images_is_named_with_the_least_number(tree: Path) -> None:
    with pytest.raises(InputError, match=r"The class 'cat' has 2 images, too few: .* needs at least 20"):
        read_labelled([tree]).require(20, "the protocol pair")


def test_a_download_that_medmnist_does_not_have_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean breastmnist"):
        download("brestmnist", tmp_path)
    with pytest.raises(UsageError, match=r"28 \(no number\), 64, 128 and 224"):
        download("breastmnist_32", tmp_path)


LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)


@given(LABELS, st.integers(1, 20), st.integers(0, 99))
def test_a_sample_is_balanced_as_far_as_there_are_images(labels: np.ndarray, count: int, seed: int) -> None:
    rows = balanced_sample(labels, count, np.random.default_rng(seed))
    assert np.array_equal(rows, np.unique(rows))
    for k in range(4):
        assert (labels[rows] == k).sum() == min(count, (labels == k).sum())


@given(LABELS, st.integers(1, 20), st.data())
def test_an_unreadable_image_changes_no_other_choice(labels: np.ndarray, count: int, data: st.DataObject) -> None:
    whole = balanced_sample(labels, count, np.random.default_rng(0))
    broken = data.draw(st.sampled_from(whole.tolist()))
    readable = np.arange(len(labels)) != broken
    without = balanced_sample(labels, count, np.random.default_rng(0), readable)
    assert set(whole) - set(without) == {broken}


@given(LABELS, st.floats(0.1, 0.9), st.data())
def test_a_split_keeps_groups_together_and_shares_of_every_class(
    labels: np.ndarray, share: float, data: st.DataObject
) -> None:
    def sides(groups: Sequence[int] | None) -> np.ndarray:
        ids = None if groups is None else np.array(groups)
        return stratified_split(labels, ids, share, np.random.default_rng(3))

    train = sides(None)
    for k in np.unique(labels):
        n, test = int((labels == k).sum()), int((~train[labels == k]).sum())
        assert abs(test - share * n) <= 1
        if n > 1:
            assert 0 < test < n
    groups = data.draw(st.lists(st.integers(0, 9), min_size=len(labels), max_size=len(labels)))
    train = sides(groups)
    for group in set(groups):
        assert len(set(train[np.array(groups) == group])) == 1


def test_squashed_images_are_square_and_named_as_before(tree: Path, tmp_path: Path) -> None:
    data = read_labelled([tree])
    (tree / "cat" / "b.png").write_bytes(b"no picture")
    small, readable = squashed(data, np.array([0, 1, 3]), 28, tmp_path / "small")
    assert readable.tolist() == [True, False, True, True]
    assert [ref.path for ref in small.refs] == [ref.path for ref in data.refs]
    assert read_image(small.refs[0]).size == (28, 28)
    assert read_image(small.refs[2]).size == (20, 12)  # not asked for
