"""Class names to sentences: the sense that a call gives a word, and the texts for CLIP to compare.

Prompt ensembling follows Radford et al. 2021 (CLIP, section 3.1.4): several sentences a class, averaged later
in embedding space (see `classifier.class_embeddings`). The classes of a call share parallel templates, so that
what the templates say cancels out and the terms decide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoannotate.errors import UsageError
from autoannotate.labelling.zero_shot.vocabulary import (
    ImageKind,
    Library,
    Meaning,
    Sentences,
    key,
    spoken,
)
from autoannotate.labelling.zero_shot.vocabulary_file import load_library

# names that say nothing about a picture, as `0`, `A` and `class 2`
_BARE = re.compile(r"(?:class|label|category|group|cluster)?[\s_-]*(?:\d+|[a-z]|[ivx]+)", re.IGNORECASE)
MAX_SENTENCES = 24  # a class
NORMAL = "normal"
MAX_SENTENCES_OF_A_KIND = 9  # an image kind, in modality_prompts


@dataclass(frozen=True)
class ClassPrompts:
    """A class as the user named it, the sentences for it, the chosen sense in plain words, and its modality, if known.

    Attributes
    ----------
    says_something : False where the name says nothing about a picture (`0`, `A`, `class 2`), and nothing explains it
    """

    name: str
    texts: tuple[str, ...]
    sense: str = ""
    says_something: bool = True
    modality: str = ""


def class_prompts(
    classes: Sequence[str], *, file: Path | Sentences | None = None, modality: str | Sequence[str] | None = None
) -> list[ClassPrompts]:
    """The sentences for each class, in the order of `classes`.

    A word with several senses (`normal`, `benign`) takes the one that fits `modality`, or else the other classes.

    Parameters
    ----------
    classes : sequence of str
        Names, one a class.
    file : Path, optional
        A user's own prompts file.
    modality : str or sequence of str, optional
        As a text a person's word ("chest X-ray", "CT"): every class follows it. As a sequence the kinds found among the
        images, the commonest first (names from `modality_prompts`): classes that fit one of them follow, the others keep the
        sense that the classes suggest.

    Raises
    ------
    UsageError
        For fewer than two classes, an empty name, two names of one class or an unknown modality.
    InputError
        For a prompts file that cannot be used.

    Examples
    --------
    >>> pneumonia, normal = class_prompts(["pneumonia", "normal"])
    >>> normal.sense, normal.texts[0]
    ('normal (chest X-ray)', 'chest X-ray showing clear lungs')
    """
    library = load_library(file)
    names = _checked(classes)
    meanings = _Call(names, library, modality).meanings()
    if not isinstance(modality, str) and _duplicates(
        meanings
    ):  # only images made two names one: the words alone decide
        meanings = _Call(names, library, None).meanings()
    if same := _duplicates(meanings):
        first, second = (names[i] for i in same)
        what = (
            f"{first!r} is there twice" if first == second else f"{first!r} and {second!r} are two names of one class"
        )
        raise UsageError(f"Among the classes {what}; leave one out, or tell them apart in a file given with --prompts.")
    return [
        ClassPrompts(
            name,
            _sentences(meaning, library),
            _sense(meaning, known=bool(library.find(name))),
            says_something=not (meaning.general and _BARE.fullmatch(name.strip())),
            modality=_modality(meaning),
        )
        for name, meaning in zip(names, meanings, strict=True)
    ]


@dataclass(frozen=True)
class FindingPrompts:
    """A finding that an image may show beside others: the sentences for images that show it, and for those that don't."""

    name: str
    present: ClassPrompts
    absent: ClassPrompts


def finding_prompts(
    findings: Sequence[str], *, file: Path | Sentences | None = None, modality: str | Sequence[str] | None = None
) -> list[FindingPrompts]:
    """A positive and a negative prompt for each finding, in the order of `findings`; one finding alone will do.

    What its absence is called stands with the finding in the library (`absent`); else it is what a normal image shows, and the
    finding's own terms with `no` before them. A class of the user's file named `no effusion` gives the sentences itself.

    >>> effusion = finding_prompts(["effusion"], modality="chest X-ray")[0]
    >>> effusion.present.texts[0], effusion.absent.texts[0]
    ('chest X-ray showing pleural effusion', 'chest X-ray showing sharp costophrenic angles')

    Raises UsageError for an empty name, two names of one finding or an unknown modality, and InputError for a prompts file
    that cannot be used.
    """
    library = load_library(file)
    names = [*_named(findings), NORMAL]
    meanings = _Call(names, library, modality).meanings()
    if not isinstance(modality, str) and _duplicates(meanings[:-1]):
        meanings = _Call(names, library, None).meanings()
    if same := _duplicates(meanings[:-1]):
        first, second = (names[i] for i in same)
        raise UsageError(f"Among the findings {first!r} and {second!r} are two names of one: leave one out.")
    normal, found = meanings[-1], []
    for name, meaning in zip(names[:-1], meanings[:-1], strict=True):
        absent = _absent(name, meaning, normal, library)
        sense = _sense(meaning, known=bool(library.find(name)))
        found.append(
            FindingPrompts(
                name,
                ClassPrompts(name, _sentences(meaning, library), sense, modality=_modality(meaning)),
                ClassPrompts(f"no {name}", _sentences(absent, library), f"without {sense}"),
            )
        )
    return found


def _absent(name: str, meaning: Meaning, normal: Meaning, library: Library) -> Meaning:
    """What an image without a finding shows, as a meaning on the same kind of image."""
    if own := [m for m in library.names.get(key(f"no {name}"), ()) if m.sentences]:
        return own[0]
    if meaning.absent:
        return replace(meaning, terms=meaning.absent, sentences=(), picture=False)
    if key(name) in map(key, (NORMAL, *normal.also)):  # the finding is that there is none
        ill = [m for m in library.names.get(key("abnormal"), ()) if m.home == normal.home]
        terms = ill[0].terms if ill else ("an abnormality", "disease")
        return replace(meaning, terms=terms, sentences=(), picture=False)
    nouns = [re.sub(r"^(an?|the) ", "", term) for term in meaning.terms or (spoken(name),)]
    terms = (*(normal.terms if normal.home == meaning.home else ()), *(f"no {noun}" for noun in nouns))
    return replace(meaning, terms=terms, sentences=(), picture=False)


def modality_prompts(file: Path | Sentences | None = None) -> list[ClassPrompts]:
    """The sentences for each known kind of image (modality and body part), to tell zero-shot what images are.

    Their names are what `class_prompts` takes as `modality`.

    >>> [kind.name for kind in modality_prompts()][:3]
    ['chest X-ray', 'breast ultrasound', 'blood cell microscopy']
    """
    library = load_library(file)
    return [
        ClassPrompts(
            k.name,
            _fill(k.terms, library.image_templates, MAX_SENTENCES_OF_A_KIND),
            k.modality.name,
            modality=k.modality.name,
        )
        for k in library.images
    ]


def _checked(classes: Sequence[str]) -> list[str]:
    if isinstance(classes, str):
        raise UsageError(f"The classes came as one text, {classes!r}; give a list of names, one a class.")
    names = _named(classes)
    if len(names) < 2:
        given = f"only {names[0]!r} was given" if names else "none was given"
        raise UsageError(f"Labelling needs at least two classes, and {given}; name them as in --classes chest,breast.")
    return names


def _named(classes: Sequence[str]) -> list[str]:
    names = [" ".join(str(name).split()) for name in classes]
    if not all(names):
        raise UsageError("One of the class names is empty; give every class a name, as in --classes chest,breast.")
    return names


def _duplicates(meanings: Sequence[Meaning]) -> tuple[int, int] | None:
    seen: dict[tuple[str, str], int] = {}
    for position, meaning in enumerate(meanings):
        first = seen.setdefault((meaning.name, meaning.home.name if meaning.home else ""), position)
        if first != position:
            return first, position
    return None


class _Call:
    """The classes of one call, deciding among them what each means."""

    def __init__(self, names: Sequence[str], library: Library, modality: str | Sequence[str] | None) -> None:
        self.names = names
        self.options = [library.find(name) for name in names]
        self.order = {kind: position for position, kind in enumerate(library.images)}
        self.stated = isinstance(modality, str)
        given = [modality] if isinstance(modality, str) else list(modality or ())
        self.focus = [library.kind(words) for words in given]
        rule = library.together.get(frozenset(map(key, names)))
        if rule and (not self.focus or any(f.covers(rule) for f in self.focus)):
            self.stated, self.focus = True, [rule]

        findings = [{m.image for m in options if m.image and not m.picture} for options in self.options]
        decided = [
            kinds
            for kinds, options in zip(findings, self.options, strict=True)
            if kinds and not any(m.general or m.picture for m in options)
        ]
        self.votes = Counter(kind for kinds in findings for kind in kinds)
        self.anchored: set[ImageKind] = set().union(*decided)
        self.finding_focus = self.focus
        if self.stated:
            decided = [{kind for kind in kinds if self.focus[0].covers(kind)} for kinds in decided]
        elif self.anchored:  # a kind found among the images must make sense for the classes
            self.finding_focus = [f for f in self.focus if any(f.covers(kind) for kind in self.anchored)]
        self.common = self._best_kind(set.intersection(*decided)) if decided else None

    def meanings(self) -> list[Meaning]:
        return [self._choose(name, options) for name, options in zip(self.names, self.options, strict=True)]

    def _choose(self, name: str, options: tuple[Meaning, ...]) -> Meaning:
        if fixed := [m for m in options if m.sentences]:
            return fixed[0]
        pictures = [m for m in options if m.picture]
        findings = [m for m in options if m.image and not m.picture]
        general = [m for m in options if m.general]

        in_focus = [m for m in findings if _any_covers(self.finding_focus, m)]
        if general:  # "CT" alone does not say what is normal: the body part must be known, or follow from the others
            in_focus = [m for m in in_focus if m.image in self.anchored or m.image in self.focus]
        if in_focus := in_focus or [m for m in pictures if _any_covers(self.focus, m)]:
            return min(in_focus, key=self._rank)
        if self.stated and (findings or general or not pictures):
            return self._carried(general or sorted(findings, key=self._rank), name, self.common or self.focus[0])
        if general or pictures:  # these words mean something on an image only where the other classes ask for it
            findings = [m for m in findings if m.image in self.anchored or (pictures and self._votes(m) > 1)]
        if findings:
            return min(findings, key=self._rank)
        if pictures:
            return min(pictures, key=self._rank)
        found = self.focus[0] if len(self.focus) == 1 and not self.anchored else None
        return self._carried(general, name, self.common or found)

    def _carried(self, meanings: Sequence[Meaning], name: str, kind: ImageKind | None) -> Meaning:
        """The first meaning, or the bare name where there is none, put on images of `kind`."""
        if not meanings:
            return Meaning(spoken(name).casefold(), (), (spoken(name),), kind)
        meaning = meanings[0]
        if kind and not kind.part and meaning.home:
            kind = replace(kind, part=meaning.home.part)
        return replace(meaning, image=kind)

    def _rank(self, meaning: Meaning) -> tuple[int, int, int]:
        assert meaning.image is not None
        position = next((i for i, f in enumerate(self.focus) if f.covers(meaning.image)), len(self.focus))
        return position, -self._votes(meaning), self._position(meaning.image)

    def _votes(self, meaning: Meaning) -> int:
        return self.votes[meaning.image] if meaning.image else 0

    def _best_kind(self, kinds: set[ImageKind]) -> ImageKind | None:
        return min(kinds, key=lambda kind: (-self.votes[kind], self._position(kind)), default=None)

    def _position(self, kind: ImageKind) -> int:
        return self.order.get(kind, len(self.order))


def _any_covers(focus: Sequence[ImageKind], meaning: Meaning) -> bool:
    return any(f.covers(meaning.image) for f in focus)


def _modality(meaning: Meaning) -> str:
    """What kind of machine makes the images that show it; nothing where the words do not say."""
    return meaning.image.modality.name if meaning.image else ""


def _sense(meaning: Meaning, *, known: bool) -> str:
    if meaning.sentences:
        return "sentences of your own"
    if meaning.picture:
        return meaning.name
    image = meaning.image.name if meaning.image else "general"
    return f"{meaning.name if known else 'not in the library'} ({image})"


def _sentences(meaning: Meaning, library: Library) -> tuple[str, ...]:
    if meaning.sentences:
        return meaning.sentences
    if meaning.picture:
        return _fill(meaning.terms, library.image_templates, MAX_SENTENCES)
    if meaning.image is None:
        return _fill(meaning.terms, library.general_templates, MAX_SENTENCES)
    templates = [_with_part(template, meaning.image.part) for template in meaning.image.modality.templates]
    return _fill(meaning.terms, templates, MAX_SENTENCES)


def _with_part(template: str, part: str) -> str:
    if part:
        return template.replace("{part}", part)
    return re.sub(r" of the \{part\}|\{part\} ?", "", template)


def _fill(terms: Sequence[str], templates: Sequence[str], limit: int) -> tuple[str, ...]:
    """Terms × templates, turning so that a cut at `limit` leaves terms and templates in balance."""
    sentences = (
        _article(templates[(i + turn) % len(templates)], term).replace("{}", term)
        for turn in range(len(templates))
        for i, term in enumerate(terms)
    )
    return tuple(dict.fromkeys(sentences))[:limit]


def _article(template: str, term: str) -> str:
    vowel = re.match(r"[aeioAEIO]|u[ln](?!i)|X-ray|MR|H&E|FDG", term)
    return template.replace("a {}", "an {}") if vowel else template
