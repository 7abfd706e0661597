"""The rules between findings that a user wrote: a text with one a line, or YAML with `rules:`; and those of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoannotate.errors import InputError
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.zero_shot.vocabulary import Sentences, key
from autoannotate.labelling.zero_shot.vocabulary_file import load_library
from autoannotate.runs.delimited import decode


def read_rules(source: Path | str | Sequence[str] | None, findings: Sequence[str], prompts: Any = None) -> Rules:
    """The rules in a file, or as texts, and those of the prompts that name findings of the run only.

    Raises
    ------
    InputError
        Where the file cannot be read, a text is no rule, names an unknown finding, or nothing can satisfy all of them.
    """
    texts = _from_file(Path(source)) if isinstance(source, str | Path) else list(source or ())
    return Rules.read([*texts, *(text for text in _of_prompts(prompts, findings) if text not in texts)], findings, key)


def _of_prompts(prompts: Path | Sentences | None, findings: Sequence[str]) -> list[str]:
    fitting = []
    for text in load_library(prompts).rules:
        try:
            Rules.read([text], findings, key)
        except InputError:
            continue  # it is about findings that are not asked for
        fitting.append(text)
    return fitting


def _from_file(file: Path) -> list[str]:
    try:
        text = decode(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({(error.strerror or str(error)).lower()}): --rules takes a file with a rule a line."
        ) from None
    if file.suffix.lower() in (".yaml", ".yml"):
        import yaml

        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"{file} is not valid YAML ({' '.join(str(error).split())[:120]}).") from None
        rules = found.get("rules") if isinstance(found, dict) else found
        if not isinstance(rules, list):
            raise InputError(f"{file} has no list of rules: write `rules:` and a rule a line behind a hyphen.")
        return [_text(rule) for rule in rules]
    return text.splitlines()


def _text(rule: Any) -> str:
    """A rule as it was meant: YAML takes `exactly one of: a, b` for a mapping."""
    if isinstance(rule, dict) and len(rule) == 1:
        name, value = next(iter(rule.items()))
        return f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
    return str(rule)
