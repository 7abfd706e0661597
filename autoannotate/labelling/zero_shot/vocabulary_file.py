"""prompts/*.yaml and a user's own file: read, checked, merged into one library of words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from autoannotate.errors import InputError
from autoannotate.labelling.zero_shot.vocabulary import (
    Code,
    ImageKind,
    Library,
    Meaning,
    Modality,
    Sentences,
    key,
    kind_named,
    paraphrases,
)

_SECTIONS = ("templates", "modalities", "images", "together", "image", "classes", "rules", "codes")
_CLASS_KEYS = ("also", "terms", "absent", "sentences", "image", "modality", "part")


def load_library(file: Path | Sentences | None = None) -> Library:
    """The library that ships with the package, with the user's `file`, or sentences by class, merged over it.

    Raises
    ------
    InputError
        Saying which file and which key, where a file cannot be read or has another form.
    """
    if file is None:
        return _shipped()
    if isinstance(file, Mapping):
        return _build([*_shipped_documents(), _of_sentences(file)])
    return _build([*_shipped_documents(), *_documents(Path(file), own=True)])


def _of_sentences(sentences: Sentences) -> _Document:
    classes = {
        name: {"sentences": [texts] if isinstance(texts, str) else list(texts)} for name, texts in sentences.items()
    }
    return _Document(_Form({"classes": classes}, "the dictionary of sentences").mapping(_SECTIONS), own=True)


@lru_cache(maxsize=1)
def _shipped() -> Library:
    return _build(_shipped_documents())


@lru_cache(maxsize=1)
def _shipped_documents() -> tuple[_Document, ...]:
    folder: Traversable = resources.files("autoannotate") / "prompts_data"
    if not folder.is_dir():  # a source checkout: the build has not copied the files into the package
        folder = Path(__file__).parents[3] / "prompts"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return tuple(document for file in files for document in _documents(file, own=False))


class _Form:
    """A place in a file (`prompts.yaml: classes > chest`) and the checks on what stands there."""

    def __init__(self, value: Any, *where: str) -> None:
        self.value, self.where = value, where

    def wrong(self, expected: str) -> InputError:
        place = f"{self.where[0]}: {' > '.join(self.where[1:])}" if len(self.where) > 1 else self.where[0]
        return InputError(f"The prompts in {place} cannot be used: {expected}.")

    def mapping(self, allowed: Sequence[str] = ()) -> dict[str, _Form]:
        if not isinstance(self.value, dict):
            example = f"keys such as {', '.join(allowed)}" if allowed else "entries of the form `name: ...`"
            raise self.wrong(f"expected {example}, found {_described(self.value)}")
        forms = {_Form(k, *self.where, "a name").text(): _Form(v, *self.where, str(k)) for k, v in self.value.items()}
        for name in forms:
            if allowed and name not in allowed:
                near = difflib.get_close_matches(name, allowed, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise self.wrong(f"unknown key {name!r}{hint}; expected one of {', '.join(allowed)}")
        return forms

    def text(self) -> str:
        if isinstance(self.value, bool) or self.value is None:
            raise self.wrong(f"YAML reads this as {self.value}; put the word in quotes")
        if not isinstance(self.value, str | int | float) or not str(self.value).strip():
            raise self.wrong(f"expected a word or a sentence, found {_described(self.value)}")
        return " ".join(str(self.value).split())

    def texts(self) -> tuple[str, ...]:
        values = self.value if isinstance(self.value, list) else [self.value]
        if not values:
            raise self.wrong("expected a list of words or sentences, found an empty list")
        return tuple(dict.fromkeys(_Form(value, *self.where).text() for value in values))

    def templates(self) -> tuple[str, ...]:
        for template in self.texts():
            slots = re.findall(r"\{[^{}]*\}?", template)
            if slots.count("{}") != 1 or not set(slots) <= {"{}", "{part}"}:
                raise self.wrong(
                    f"the template {template!r} needs one {{}} for the term, and may have {{part}} besides"
                )
        return self.texts()

    def items(self) -> list[_Form]:
        if not isinstance(self.value, list):
            raise self.wrong(f"expected a list, found {_described(self.value)}")
        return [_Form(value, *self.where, f"entry {i}") for i, value in enumerate(self.value, start=1)]


@dataclass(frozen=True)
class _Document:
    sections: dict[str, _Form]
    own: bool


def _described(value: object) -> str:
    names = {
        dict: "named entries",
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "yes or no",
    }
    return "nothing" if value in (None, "") else names.get(type(value), type(value).__name__)


def _documents(file: Traversable, *, own: bool) -> Iterator[_Document]:
    import yaml

    name = str(file) if own else file.name
    try:
        values = list(yaml.load_all(file.read_text(encoding="utf-8"), Loader=_strict_loader()))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a UTF-8 text"
        raise InputError(f"The prompts file {name} cannot be read: {reason}. Give the path of a YAML file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "its characters are not those of a text"
        raise InputError(f"The prompts file {name} is not valid YAML{line}: {problem}.") from error
    values = [value for value in values if value is not None]
    if not values:
        raise InputError(f"The prompts file {name} is empty; it needs `classes:` or `templates:`.")
    for value in values:
        yield _Document(_Form(value, name).mapping(_SECTIONS), own)


def _strict_loader() -> type:
    import yaml

    class Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """YAML that refuses a key given twice, where plain YAML would silently forget the first."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node.value, str):
                problem = f"{key_node.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key_node.value, str):
                seen.add(key_node.value)
        return dict(loader.construct_pairs(node, deep=True))

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return Strict


# ---- building ----


def _build(documents: Sequence[_Document]) -> Library:
    general, whole = _templates(documents)
    modalities = _modalities(documents)
    images = _images(documents, modalities)
    kinds = [*images.values(), *(modality.any_part() for modality in modalities.values())]
    pictures = [Meaning(k.name, k.also + paraphrases(k), k.terms, k, picture=True, home=k) for k in kinds]
    own = [meaning for document in documents if document.own for meaning in _classes(document, images, modalities)]
    shipped = [
        meaning for document in documents if not document.own for meaning in _classes(document, images, modalities)
    ]
    order = {kind.name: position for position, kind in enumerate(kinds)}

    def by_order(meaning: Meaning) -> int:
        return order.get(meaning.image.name, len(order)) if meaning.image else -1

    shipped = sorted([*shipped, *pictures], key=by_order)
    names = _index(shipped, lambda meaning: (meaning.name, *meaning.also))
    names.update(_index(own, lambda meaning: (meaning.name, *meaning.also)))
    return Library(
        general_templates=general,
        image_templates=whole,
        modalities=tuple(modalities.values()),
        images=tuple(images.values()),
        together=_together(documents, images, modalities),
        names=names,
        terms=_index([*own, *shipped], lambda meaning: meaning.terms),
        codes=_codes(documents),
        rules=tuple(text for _, section in _section(documents, "rules") for text in _rules(section)),
    )


def _rules(form: _Form) -> list[str]:
    """Rules between findings, see `labelling.rules`; YAML takes `exactly one of: a, b` for a mapping."""
    texts = []
    for entry in form.items():
        if isinstance(entry.value, dict):
            texts += [f"{name}: {', '.join(value.texts())}" for name, value in entry.mapping().items()]
        else:
            texts.append(entry.text())
    return texts


def _index(meanings: Iterable[Meaning], words: Any) -> dict[str, tuple[Meaning, ...]]:
    index: dict[str, list[Meaning]] = {}
    for meaning in meanings:
        for word in dict.fromkeys(map(key, words(meaning))):
            index.setdefault(word, []).append(meaning)
    return {word: tuple(found) for word, found in index.items()}


def _section(documents: Iterable[_Document], name: str) -> Iterator[tuple[_Document, _Form]]:
    return ((document, document.sections[name]) for document in documents if name in document.sections)


def _templates(documents: Sequence[_Document]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    forms: dict[str, _Form] = {}
    for _, section in _section(documents, "templates"):
        forms |= section.mapping(("general", "images"))
    return forms["general"].templates(), forms["images"].templates()


def _modalities(documents: Sequence[_Document]) -> dict[str, Modality]:
    found: dict[str, Modality] = {}
    for _, section in _section(documents, "modalities"):
        for name, entry in section.mapping().items():
            forms = entry.mapping(("also", "terms", "templates"))
            before = found.get(key(name), Modality(name, (), (name,), ()))
            found[key(name)] = Modality(
                name=before.name,
                also=_texts(forms, "also", before.also),
                terms=_texts(forms, "terms", before.terms),
                templates=forms["templates"].templates() if "templates" in forms else before.templates,
            )
            if not found[key(name)].templates:
                raise entry.wrong("a new modality needs `templates`")
    return found


def _images(documents: Sequence[_Document], modalities: Mapping[str, Modality]) -> dict[str, ImageKind]:
    found: dict[str, ImageKind] = {}
    for _, section in _section(documents, "images"):
        for name, entry in section.mapping().items():
            forms = entry.mapping(("also", "modality", "part", "terms"))
            before = found.get(key(name))
            if "modality" in forms:
                modality = _modality(forms["modality"], modalities)
                before = before or ImageKind(name, (), modality, "", (name,))
            elif before:
                modality = before.modality
            else:
                raise entry.wrong("a new kind of image needs a `modality`")
            found[key(name)] = ImageKind(
                name=before.name,
                also=_texts(forms, "also", before.also),
                modality=modality,
                part=forms["part"].text() if "part" in forms else before.part,
                terms=_texts(forms, "terms", before.terms),
            )
    return found


def _codes(documents: Sequence[_Document]) -> dict[str, Code]:
    found = {}
    for _, section in _section(documents, "codes"):
        for name, entry in section.mapping().items():
            scheme, value, meaning = (*entry.text().split(maxsplit=2), "", "", "")[:3]
            if not meaning or len(scheme) > 16 or len(value) > 16 or len(meaning) > 64:
                raise entry.wrong("a code is a scheme, a value and a meaning, as in `SCT 233604007 Pneumonia`")
            found[key(name)] = Code(scheme, value, meaning)
    return found


def _texts(forms: Mapping[str, _Form], name: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    return forms[name].texts() if name in forms else otherwise


def _modality(form: _Form, modalities: Mapping[str, Modality]) -> Modality:
    wanted = key(form.text())
    for modality in modalities.values():
        if wanted in map(key, (modality.name, *modality.also)):
            return modality
    known = ", ".join(modality.name for modality in modalities.values())
    raise form.wrong(f"there is no modality {form.text()!r}; expected one of {known}")


def _image(form: _Form, images: Mapping[str, ImageKind], modalities: Mapping[str, Modality]) -> ImageKind:
    if found := kind_named(form.text(), tuple(images.values()), tuple(modalities.values())):
        return found
    near = difflib.get_close_matches(form.text(), [kind.name for kind in images.values()], n=3, cutoff=0.3)
    raise form.wrong(f"there is no kind of image {form.text()!r}; the nearest are {', '.join(near) or 'none'}")


def _classes(
    document: _Document, images: Mapping[str, ImageKind], modalities: Mapping[str, Modality]
) -> Iterator[Meaning]:
    if "classes" not in document.sections:
        return
    default = _image(document.sections["image"], images, modalities) if "image" in document.sections else None
    for name, entry in document.sections["classes"].mapping().items():
        if not isinstance(entry.value, dict):
            yield Meaning(name, (), (name,), sentences=entry.texts())
            continue
        forms = entry.mapping(_CLASS_KEYS)
        kind = _image(forms["image"], images, modalities) if "image" in forms else default
        if "modality" in forms:
            modality = _modality(forms["modality"], modalities)
            part = forms["part"].text() if "part" in forms else ""
            same = [k for k in images.values() if k.modality == modality and k.part == part]
            named = f"{part} {modality.name}".strip()
            kind = same[0] if same else ImageKind(named, (), modality, part, (named,))
        elif "part" in forms:
            raise entry.wrong("`part` needs a `modality` beside it")
        yield Meaning(
            name=name,
            also=_texts(forms, "also", ()),
            terms=_texts(forms, "terms", (name,)),
            image=kind,
            sentences=_texts(forms, "sentences", ()),
            home=kind,
            absent=_texts(forms, "absent", ()),
        )


def _together(
    documents: Sequence[_Document], images: Mapping[str, ImageKind], modalities: Mapping[str, Modality]
) -> dict[frozenset[str], ImageKind]:
    rules = {}
    for _, section in _section(documents, "together"):
        for entry in section.items():
            forms = entry.mapping(("classes", "image"))
            if set(forms) != {"classes", "image"}:
                raise entry.wrong("expected both `classes` and `image`")
            rules[frozenset(map(key, forms["classes"].texts()))] = _image(forms["image"], images, modalities)
    return rules
