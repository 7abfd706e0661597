"""The documentation is true: tutorials run block by block, links and pages build, the command line is all there."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import draw_images

from autoannotate import exports
from autoannotate.answers import importers
from autoannotate.evaluation.baselines import baselines
from autoannotate.evaluation.noise_injection import NOISES
from autoannotate.evaluation.protocols import protocols
from autoannotate.labelling.label_errors.reasons import REASONS
from autoannotate.labelling.queries.strategies import STRATEGIES

DOCS = Path(__file__).parents[1] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PAGES = sorted(path for path in (DOCS.parent, *(DOCS.parent / "eval").glob("**")) for path in path.glob("*.md"))
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)")
MEASURED = re.compile(r"\beval/[\w/]+\.(?:md|py|yaml|sh)\b")
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_links_of_a_page_lead_to_a_file(page: Path) -> None:
    assert [to for to in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / to).exists()] == []


def test_measurements_that_code_and_docs_name_are_there() -> None:
    root = DOCS.parent
    texts = [
        *root.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(root / "autoannotate").rglob("*.py"),
        *(root / "eval").rglob("*.*"),
    ]
    named = {
        (str(path.relative_to(root)), name)
        for path in texts
        if path.suffix in (".md", ".py", ".sh", ".yaml")
        for name in MEASURED.findall(path.read_text(encoding="utf-8"))
    }
    assert named
    assert sorted((page, name) for page, name in named if not (root / name).exists()) == []


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_as_it_is_written(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(DOCS.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    names: dict[str, object] = {}
    assert blocks(page)
    for language, text in blocks(page):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(text, page.name, "exec"), names)
            assert "print(" not in text or printed.getvalue()
            continue
        for line in text.splitlines():
            assert line.startswith("$ autoannotate "), line
            command = [sys.executable, "-m", *shlex.split(line.removeprefix("$ "))]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_of_the_readme_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "images", [f"{i}.png" for i in range(8)])
    monkeypatch.chdir(tmp_path)
    found = [text for language, text in blocks(DOCS.parent / "README.md") if language == "python"]
    assert found
    for text in found:
        exec(compile(text, "README.md", "exec"), {})
    assert "8 images, 8 in the queue" in capsys.readouterr().out


def test_there_are_three_tutorials_with_pictures() -> None:
    assert len(TUTORIALS) >= 3
    assert sum("![" in page.read_text(encoding="utf-8") for page in TUTORIALS) >= 2


def test_the_site_builds_strictly_and_opens_without_a_network(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs_typer2") is None:
        pytest.skip("the documentation's tools are not installed: pip install 'autoannotate[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    environment = os.environ | {
        "PYTHONPATH": str(DOCS.parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    from autoannotate.cli.main import COMMANDS

    reference = (tmp_path / "site" / "reference" / "cli.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"autoannotate {name}" in reference
    choices = (tmp_path / "site" / "reference" / "choices.html").read_text(encoding="utf-8")
    formats, evaluated = (*exports.formats(), *importers.formats()), (*baselines(), *protocols(), *NOISES)
    for name in (*formats, *evaluated, *STRATEGIES, *REASONS):
        assert f"<code>{name}</code>" in choices
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text(encoding="utf-8")
        )
        assert not [url for url in fetched if "canonical" not in url], page
