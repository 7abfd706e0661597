"""Answers are kept whole, in order, by several processes at once, whatever is killed or full."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.answers.store import FILE, Answer, AnswerStore
from autoannotate.errors import InputError, OutputError


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path)


def test_an_answer_comes_back_as_it_was_given(store: AnswerStore) -> None:
    given = Answer(
        "a/1.png#3", "Zoë", "label", "größer", note="=1+1 🩻", source="csv", round=2, fingerprint="f", seconds=1.5
    )
    (kept,) = store.add([given])
    assert kept.id == 1
    assert kept.batch
    assert kept.answered_at.endswith("+00:00")
    assert store.everything() == store.current() == store.current("Zoë") == [kept]
    assert (kept.path, kept.label, kept.note, kept.round, kept.seconds) == ("a/1.png#3", "größer", "=1+1 🩻", 2, 1.5)
    assert AnswerStore.exists(store.file.parent)


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in (("label", None), ("unsure", "chest"), ("maybe", None)):
        with pytest.raises(InputError):
            Answer("a.png", "Ana", *wrong)
    with pytest.raises(InputError):
        Answer("a.png", " ", "unsure")


def test_the_latest_answer_of_each_reader_stands_and_undo_brings_the_one_before_back(store: AnswerStore) -> None:
    store.add([Answer("a.png", "Ana", "label", "chest")])
    store.add([Answer("a.png", "Ben", "label", "breast")])
    store.add([Answer("a.png", "Ana", "none")])
    assert [(a.reader, a.verdict) for a in store.current()] == [("Ben", "label"), ("Ana", "none")]
    (undone,) = store.undo("Ana")
    assert undone.verdict == "none"
    assert undone.undone_at
    assert [(a.reader, a.label) for a in store.current()] == [("Ana", "chest"), ("Ben", "breast")]
    assert [a.label for a in store.undo("Ana")] == ["chest"]
    assert store.undo("Ana") == []
    assert [a.label for a in store.current()] == ["breast"]
    assert len(store.everything()) == 3, "undo deletes nothing"
    assert store.readers() == ["Ben"]


def test_a_stroke_is_undone_at_once_and_only_where_it_was_made(store: AnswerStore) -> None:
    store.add([Answer("a.png", "Ana", "discard", source="csv")])
    store.add([Answer(f"{i}.png", "Ana", "label", "chest") for i in range(40)])
    assert len(store.undo("Ana", source="review")) == 40
    assert store.undo("Ana", source="review") == []
    assert [a.path for a in store.current("Ana")] == ["a.png"]


def test_the_same_answer_sent_twice_is_kept_once(store: AnswerStore) -> None:
    answers = [Answer(f"{i}.png", "Ana", "label", "chest", batch="b1") for i in range(3)]
    assert store.add(answers) == store.add(answers)
    assert len(store.everything()) == 3


def test_half_a_stroke_is_never_kept(store: AnswerStore) -> None:
    with pytest.raises(InputError, match="no text"):
        store.add([Answer("a.png", "Ana", "unsure"), Answer("b.png", "Ana", "unsure", note="\ud800")])
    assert store.everything() == []
    store.add([Answer("c.png", "Ana", "unsure")])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.none(), st.tuples(st.sampled_from("abc"), st.sampled_from(["chest", "breast"])))))
def test_any_sequence_of_answers_and_undos_leaves_what_a_pile_of_paper_would(
    tmp_path_factory: pytest.TempPathFactory, strokes: list[tuple[str, str] | None]
) -> None:
    with AnswerStore(tmp_path_factory.mktemp("run")) as store:
        pile: list[tuple[str, str]] = []
        for stroke in strokes:
            if stroke is None:
                assert [(a.path, a.label) for a in store.undo("Ana")] == pile[-1:]
                del pile[-1:]
            else:
                pile.append(stroke)
                store.add([Answer(stroke[0], "Ana", "label", stroke[1])])
        assert {a.path: a.label for a in store.current("Ana")} == dict(pile)


def test_two_processes_and_many_threads_lose_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "Ben", "60"])
    with AnswerStore(tmp_path) as store:
        threads = [
            threading.Thread(target=lambda t=t: [store.add([Answer(f"{t}-{i}", "Ana", "unsure")]) for i in range(15)])
            for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.wait() == 0
        assert len(store.current("Ana")) == len(store.current("Ben")) == 60


def test_a_killed_writer_loses_no_answer_that_it_was_told_is_kept(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "Ana", "100000"], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(25)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    told = (writer.stdout.readlines() or [told])[-1]
    writer.wait()
    kept = [a.path for a in AnswerStore(tmp_path).current()]
    strokes = sorted({int(path.split("-")[0]) for path in kept})
    assert int(told) in strokes
    assert strokes == list(range(len(strokes)))
    assert len(kept) == 2 * len(strokes), "each stroke of two is there whole"


def test_a_full_disk_is_a_plain_message_and_keeps_no_half_answer(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: the system refuses to write in the same place."""
    store = AnswerStore(tmp_path)
    store.add([Answer("a.png", "Ana", "unsure")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    full = max(item.stat().st_size for item in tmp_path.iterdir())
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, before[1]))
        with pytest.raises(OutputError, match="disk is full"):
            store.add([Answer(f"{i}.png", "Ana", "unsure", note="x" * 2000) for i in range(40)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [a.path for a in store.current()] == ["a.png"]
    store.add([Answer("b.png", "Ana", "unsure")])
    assert [a.path for a in AnswerStore(tmp_path).current()] == ["a.png", "b.png"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_truly_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        store, kept = AnswerStore(tmp_path), 0
        with pytest.raises(OutputError, match="disk is full"):  # noqa: PT012
            for kept in range(2000):
                store.add([Answer(f"{kept}-{i}", "Ana", "unsure", note="x" * 200) for i in range(2)])
        assert len(store.current()) == 2 * kept
        store.close()
        assert len(AnswerStore(tmp_path).current()) == 2 * kept
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_another_file_in_its_place_is_a_plain_message(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"these are not answers" * 100)
    with pytest.raises(InputError, match="damaged"):
        AnswerStore(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        AnswerStore(tmp_path / "nowhere")


WRITER = """
import sys
from autoannotate.answers.store import Answer, AnswerStore
store = AnswerStore(sys.argv[1])
each = 2 if sys.argv[2] == "Ana" else 1
for stroke in range(int(sys.argv[3])):
    store.add([Answer(f"{stroke}-{i}", sys.argv[2], "unsure") for i in range(each)])
    print(stroke, flush=True)
"""
