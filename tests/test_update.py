"""The update, on real files: answers are truth, the other labels learn from them, what was answered does not come back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_scans import CLASSES, write_scans
from PIL import Image
from typer.testing import CliRunner

from autoannotate import Annotations, Annotator
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app
from autoannotate.errors import InputError, UsageError
from autoannotate.images import find_images, fingerprint, read_image
from autoannotate.labelling.queries.queue import EACH_CLASS
from autoannotate.runs import history
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE, SUSPECTS
from autoannotate.runs.save import FILES

GUESSES = ["type one", "type two", "type three", "type four"]
MEANT = dict(zip(CLASSES, GUESSES, strict=True))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real images that pydicom brings, each whole, mirrored and cropped, in a folder named by what it shows."""
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder)
    first = sorted((folder / "CT").glob("*.png"))[0]
    Image.open(first).save(folder / "CT" / "twin.jpg", quality=97)
    return folder


@pytest.fixture(scope="module")
def made(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with classes that the encoder knows, and one with names that mean nothing to it."""
    runs = {}
    cache = tmp_path_factory.mktemp("cache")
    for name, classes in (("known", CLASSES), ("guessed", GUESSES)):
        runs[name] = tmp_path_factory.mktemp(name) / "run"
        Annotator(classes, student="none", cache=cache).label(scans).save(runs[name])
    return runs


@pytest.fixture
def run(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["known"], tmp_path / "run"))


@pytest.fixture
def guesses(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["guessed"], tmp_path / "run"))


def answer(run: Path, *said: tuple[str, str], reader: str = "Ana", **more: Any) -> list[Answer]:
    """Keep what a reader said: path and class, or path and verdict."""
    verdicts = ("unsure", "none", "discard")
    with AnswerStore(run) as store:
        return store.add(
            [
                Answer(path, reader, what, **more) if what in verdicts else Answer(path, reader, "label", what, **more)
                for path, what in said
            ]
        )


def update(run: Path, **options: Any) -> Annotations:
    before = Annotations.load(run)
    return Annotator.from_run(before).update(before, **options)


def row(annotations: Annotations, path: str) -> dict[str, Any]:
    return annotations.table.set_index("path").loc[path].to_dict()


def shown(path: str) -> str:
    return path.split("/")[0]


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_answers_are_truth_and_do_not_come_back(run: Path) -> None:
    asked = Annotations.load(run).table["path"].tolist()[10:40]
    said = [(path, shown(path)) for path in asked[:-1]] + [(asked[-1], "MRI" if shown(asked[-1]) == "CT" else "CT")]
    answer(run, *said)
    after = update(run)
    for path, label in said:  # the last one too, though all the evidence is against it
        found = row(after, path)
        assert (found["label"], found["source"], found["confidence"]) == (label, "clinician", 1.0)
        assert (found["suspect"], found["suspect_score"]) == (0, 0.0)
    assert not set(asked) & set(after.suspects["path"])
    assert tuple(after.suspects.columns) == SUSPECTS
    assert set(after.suspects["path"]) == set(after.table.query("suspect == 1")["path"])
    assert after.suspects["rank"].tolist() == list(range(1, len(after.suspects) + 1))
    assert after.suspects["reason"].str.len().gt(0).all()
    assert files(run) == files(run / "rounds" / "0001")
    assert Annotations.load(run).table.equals(after.table)
    unsure = (1 - after.table["confidence"]).mean()  # and no model sees the errors that it made itself
    assert (
        after.run["estimated_error_rate"] >= unsure - 1e-3
    )  # but the answers, one of which contradicts all the evidence


def test_images_of_no_class_are_learned_from_by_nobody(run: Path) -> None:
    first, second = Annotations.load(run).table["path"].tolist()[20:22]
    answer(run, (first, "none"), (second, "discard"))
    after = update(run)
    assert (row(after, first)["label"], row(after, first)["source"]) == (NONE_OF_THESE, "clinician")
    assert (row(after, second)["label"], row(after, second)["source"]) == (NOT_USABLE, "clinician")
    assert after.classes == CLASSES
    assert not {first, second} & set(after.suspects["path"])


def test_unsure_changes_no_label_and_waits_for_another_reader(run: Path) -> None:
    path = Annotations.load(run).table["path"].tolist()[5]
    before = row(Annotations.load(run), path)
    answer(run, (path, "unsure"))
    after = update(run)
    assert (row(after, path)["label"], row(after, path)["source"]) == (before["label"], before["source"])
    last = after.suspects.iloc[-1]
    assert last["path"] == path
    assert "another" in last["reason"]
    assert after.run["update"]["disagreements"] == 1


def test_several_readers_find_a_consensus(run: Path) -> None:
    paths = [path for path in Annotations.load(run).table["path"] if shown(path) in ("CT", "MRI")][:12]
    for reader in ("Ana", "Ben", "Cem"):
        wrong = paths[:1] if reader != "Cem" else paths[:1] + paths[6:]
        said = [(path, shown(path)) for path in paths if path not in wrong or reader != "Cem"]
        said += [(path, "X-ray") for path in wrong if reader == "Cem"]
        answer(run, *said, reader=reader)
    after = update(run)
    assert all(row(after, path)["label"] == shown(path) for path in paths)
    assert row(after, paths[0])["confidence"] < 1.0  # they did not agree on that one
    quality = after.run["update"]["reader_quality"]
    assert quality["Cem"] < min(quality["Ana"], quality["Ben"])
    assert "Quality of the readers" in (run / "report.html").read_text()


def test_a_second_update_gives_the_same_bytes_and_keeps_no_round(run: Path) -> None:
    answer(run, *((path, shown(path)) for path in Annotations.load(run).table["path"][:15]))
    update(run)
    first = files(run)
    again = update(run)
    assert files(run) == first
    assert len(history.rounds(run)) == 2
    assert again.run["round"] == 1
    fresh = Annotator.from_run(Annotations.load(run))  # nor does it matter who asks
    assert fresh.update(Annotations.load(run)).table.equals(again.table)


def test_how_often_one_updates_changes_nothing(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    said = [(path, shown(path)) for path in Annotations.load(run).table["path"][30:50]]
    answer(run, *said[:10])
    update(run)
    answer(run, *said[10:])
    answer(other, *said[10:])
    answer(other, *said[:10])
    assert update(run).table.equals(update(other).table)


def test_one_answer_settles_pictures_that_are_nearly_the_same(run: Path) -> None:
    twins = ["CT/twin.jpg", next(p for p in Annotations.load(run).table["path"] if p.startswith("CT/"))]
    answer(run, (twins[1], "MRI"))  # so wrong that only the answer can be where the label comes from
    after = update(run)
    taken_over = row(after, twins[0])
    assert taken_over["label"] == "MRI"
    assert taken_over["source"] != "clinician"
    assert taken_over["confidence"] < 1.0
    assert twins[0] not in set(after.suspects["path"])
    (why,) = [change.why for change in history.rounds(run)[-1].changes if change.path == twins[0]]
    assert why == f"nearly the same picture as {twins[1]}, which was answered"


def test_what_changed_is_told_with_the_reason(run: Path) -> None:
    path = "CT/twin.jpg"
    given = answer(run, (path, "ultrasound"))
    update(run)
    one = history.rounds(run)[-1]
    assert one.new == one.answers == (given[0].id,)
    assert ("CT/twin.jpg", "ultrasound", "Ana answered") in [(c.path, c.after, c.why) for c in one.changes]
    with AnswerStore(run) as store:
        store.undo("Ana")
    back = update(run)
    assert row(back, path)["source"] != "clinician"
    last = history.rounds(run)[-1]
    assert last.taken_back == (given[0].id,)
    assert (path, "an answer was taken back") in [(c.path, c.why) for c in last.changes]


@pytest.mark.slow
def test_an_answer_to_a_picture_that_was_replaced_is_left_out_and_said(run: Path, scans: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(scans, tmp_path / "scans"))
    before = Annotator(CLASSES, student="none", cache=tmp_path / "cache").label(mine)
    before.save(tmp_path / "mine")
    paths = [path for path in before.table["path"] if shown(path) == "MRI"][:3]
    refs = {ref.path: ref for ref in find_images(mine)}
    for path in paths:
        answer(tmp_path / "mine", (path, "X-ray"), fingerprint=fingerprint(refs[path]))
    read_image(refs[paths[0]]).rotate(90).save(mine / paths[0])
    (mine / paths[1]).unlink()
    after = update(tmp_path / "mine")
    assert row(after, paths[0])["source"] != "clinician"
    assert after.run["update"]["pictures_replaced_since_the_answer"] == [paths[0]]
    assert after.unreadable["path"].tolist() == [paths[1]]
    assert row(after, paths[2])["source"] == "clinician"
    with AnswerStore(tmp_path / "mine") as store:
        assert len(store.current()) == 3


@pytest.mark.slow
def test_a_picture_that_is_gone_stays_known_and_counts_again_once_it_is_back(scans: Path, tmp_path: Path) -> None:
    mine, run = Path(shutil.copytree(scans, tmp_path / "scans")), tmp_path / "mine"
    before = Annotator(CLASSES, student="none", cache=tmp_path / "cache").label(mine)
    before.save(run)
    path = before.table["path"].tolist()[3]
    answer(run, (path, "X-ray"))
    away = (mine / path).rename(tmp_path / "away.png")
    for _ in range(2):  # with nothing new the second keeps no round, and forgets nothing
        after = update(run)
        assert after.run["round"] == 1
        assert after.unreadable["path"].tolist() == [path]
        assert path not in set(after.table["path"])
    away.rename(mine / path)
    back = update(run)
    assert (row(back, path)["label"], row(back, path)["source"]) == ("X-ray", "clinician")
    assert len(back.unreadable) == 0


def test_a_moved_folder_keeps_its_answers(run: Path, scans: Path, tmp_path: Path) -> None:
    path = Annotations.load(run).table["path"].tolist()[3]
    answer(run, (path, "X-ray"), fingerprint=fingerprint({r.path: r for r in find_images(scans)}[path]))
    moved = Path(shutil.copytree(scans, tmp_path / "moved", copy_function=shutil.copy))  # with new times of change
    loaded = Annotations.load(run)
    loaded.run["arguments"]["images"] = moved.as_posix()
    assert row(Annotator.from_run(loaded).update(loaded), path)["label"] == "X-ray"


class StoppedError(Exception):
    """What an impatient person does."""


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_an_interrupted_update_leaves_the_run_as_it_was(run: Path, moment: int) -> None:
    answer(run, ("CT/twin.jpg", "MRI"))
    before, left = files(run), [moment]

    def track(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        for item in items:
            left[0] -= 1
            if left[0] < 0:
                raise StoppedError
            yield item

    with pytest.raises(StoppedError):
        update(run, track=track)
    assert files(run) == before
    assert not (run / "rounds").exists()


@pytest.mark.slow
@pytest.mark.parametrize("after", [2.0, 4.0, 8.0])
def test_a_killed_update_leaves_a_whole_run(run: Path, after: float) -> None:
    answer(run, ("CT/twin.jpg", "MRI"))
    process = subprocess.Popen(
        [sys.executable, "-m", "autoannotate", "update", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    history.settle(run)
    found = Annotations.load(run)
    kept = history.rounds(run)
    assert row(found, "CT/twin.jpg")["label"] == ("MRI" if len(kept) == 2 else "CT")
    assert row(update(run), "CT/twin.jpg")["label"] == "MRI"


def test_guesses_are_replaced_by_what_the_answers_teach(guesses: Path) -> None:
    before = Annotations.load(guesses)
    assert not before.run["reliability"]["meaningful"]
    assert len(before.suspects) >= min(EACH_CLASS * len(GUESSES), 60)  # asked from the start
    assert set(before.suspects["path"]) == set(before.table.query("suspect == 1")["path"])
    asked = update(guesses)
    assert asked.suspects["path"].tolist() == before.suspects["path"].tolist()
    typical = asked.suspects["path"].tolist()[:40]
    assert {shown(path) for path in typical} == set(CLASSES)
    answer(guesses, *((path, MEANT[shown(path)]) for path in typical))
    after = update(guesses)
    rest = after.table[after.table["source"] != "clinician"]
    right = (rest["label"] == rest["path"].map(lambda path: MEANT[shown(path)])).mean()
    assert right >= 0.85
    assert set(rest["source"]) <= {"answers", "duplicate"}  # and not CLIP any more
    assert after.run["reliability"]["meaningful"]
    assert "learned from" in after.run["reliability"]["verdict"]
    assert len(after.suspects) < len(asked.suspects)


@pytest.mark.parametrize("strategy", ["doubtful", "informative", "representative", "mixture"])
def test_the_queue_can_be_ordered_by_any_strategy(guesses: Path, strategy: str) -> None:
    found = CliRunner().invoke(app, ["update", str(guesses), "--strategy", strategy])
    assert found.exit_code == 0, found.stderr
    assert "Nothing was answered" in found.stdout or "no new answers" in found.stdout
    assert len(Annotations.load(guesses).suspects)


def test_the_report_shows_before_and_after(run: Path) -> None:
    paths = Annotations.load(run).table["path"].tolist()
    answer(run, *((path, shown(path)) for path in paths[:9]), (paths[-1], "MRI"))
    after = update(run)
    page = (run / "report.html").read_text()
    assert "Before and after the answers" in page
    assert "Were the labels as sure as they were right?" in page
    found = after.run["update"]["calibration"]
    assert found["answers"] == sum(one["n"] for one in found["bins"]) == 10
    assert all(0 <= one["low"] <= one["right"] <= one["high"] <= 1 for one in found["bins"])
    assert "http" not in page.replace("http-equiv", "")


def test_the_command_says_what_the_answers_did(run: Path) -> None:
    answer(run, ("CT/twin.jpg", "MRI"), reader="Ben")
    done = CliRunner().invoke(app, ["update", str(run)])
    assert done.exit_code == 0, done.stderr
    assert "Round 1: answers: Ben 1." in done.stdout
    told = CliRunner().invoke(app, ["history", str(run), "--round", "1"])
    assert "CT/twin.jpg  CT → MRI  Ben answered" in told.stdout
    again = CliRunner().invoke(app, ["update", str(run)])
    assert (
        "Nothing was answered since the last update, no image joined or left, and the labels are the same."
        in again.stdout
    )


def test_a_restored_round_is_updated_with_all_answers(run: Path) -> None:
    answer(run, ("CT/twin.jpg", "MRI"))
    first = update(run)
    history.restore(run, 0)
    assert row(Annotations.load(run), "CT/twin.jpg")["source"] != "clinician"
    assert update(run).table.equals(first.table)


@pytest.mark.slow
def test_answers_from_another_tool_are_learnt_from_once(guesses: Path, tmp_path: Path) -> None:
    """`apply` puts answers in the place of labels; the update after it lets the others learn, and the next one has nothing
    to do. It comes to the same labels as an update after the same answers in the page."""
    paths = Annotations.load(guesses).suspects["path"].tolist()
    said = [(path, MEANT[shown(path)]) for path in paths]
    inside = Path(shutil.copytree(guesses, tmp_path / "inside"))
    answer(inside, *said)
    table = tmp_path / "answers.csv"
    table.write_text("path,answer\n" + "".join(f"{path},{label}\n" for path, label in said))
    call = lambda *words: CliRunner().invoke(app, [str(word) for word in words])  # noqa: E731
    applied = call("apply", guesses, table, "--reader", "Ana")
    assert "autoannotate update" in applied.stdout, applied.stderr
    assert f"{len(said)} answers from which the other labels have not learnt yet" in call("history", guesses).stdout
    done = call("update", guesses)
    assert f"Round 2: answers: Ana {len(said)}." in done.stdout
    assert Annotations.load(guesses).table.equals(update(inside).table)
    assert "have not learnt" not in call("history", guesses).stdout
    first = files(guesses)
    assert "Nothing was answered since the last update" in call("update", guesses).stdout
    assert files(guesses) == first
    assert [one.what for one in history.rounds(guesses)] == ["label", "apply", "update"]
    history.restore(guesses, 1)  # before the others learnt
    assert "have not learnt" in call("history", guesses).stdout
    assert update(guesses).table.equals(update(inside).table)


def test_wrong_calls_are_told_plainly(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one of doubtful"):
        update(run, strategy="clever")
    answer(run, ("CT/twin.jpg", "PET"))
    with pytest.raises(InputError, match="'PET', which the run does not have"):
        update(run)
    unsaved = Annotations.load(run)
    object.__setattr__(unsaved, "folder", None)
    with pytest.raises(InputError, match="save it"):
        Annotator.from_run(unsaved).update(unsaved)
    nowhere = CliRunner().invoke(app, ["update", str(tmp_path / "nowhere")])
    assert nowhere.exit_code == 1
    assert "There is no run" in nowhere.stderr
