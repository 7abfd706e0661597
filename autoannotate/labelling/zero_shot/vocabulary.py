"""The words for classes and kinds of images, as prompts/*.yaml have them, and how a name is looked up among them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoannotate.errors import UsageError

Sentences = Mapping[str, str | Sequence[str]]
"""By class, what is said of it: a sentence, or several."""


@dataclass(frozen=True)
class Modality:
    """A way of making images, and templates that say what one shows: {} is the term, {part} the body part."""

    name: str
    also: tuple[str, ...]
    terms: tuple[str, ...]
    templates: tuple[str, ...]

    def any_part(self) -> ImageKind:
        """The kind of image that this modality makes, whatever the body part."""
        return ImageKind(self.name, self.also, self, "", self.terms)


@dataclass(frozen=True)
class ImageKind:
    """A modality and a body part (empty: any), with the terms that name the whole picture."""

    name: str
    also: tuple[str, ...]
    modality: Modality
    part: str
    terms: tuple[str, ...]

    def covers(self, kind: ImageKind | None) -> bool:
        """True for the same kind, and for any body part of the modality where this kind names no body part."""
        return kind is not None and (self == kind or (not self.part and self.modality == kind.modality))


@dataclass(frozen=True)
class Meaning:
    """What a class name may mean: terms that fill the templates of an image kind, or sentences as they are.

    `absent` are the terms for images without it, where it is one of several findings; where there are none they are made.
    `image` is None for a general word. `picture` is true where the class is the whole picture, not something on
    it. `home` is the kind of image that the library gives it; `image` may differ once a call has decided.
    """

    name: str
    also: tuple[str, ...]
    terms: tuple[str, ...]
    image: ImageKind | None = None
    picture: bool = False
    sentences: tuple[str, ...] = ()
    home: ImageKind | None = None
    absent: tuple[str, ...] = ()

    @property
    def general(self) -> bool:
        """True for a word that waits for the other classes of the call to say what it means."""
        return self.home is None and not self.sentences


@dataclass(frozen=True)
class Code:
    """A concept of a coding scheme (PS3.3, 8): SCT 233604007 Pneumonia."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Library:
    """All words at hand: `find` gives the meanings of a class name, `kind` the image kind that words name."""

    general_templates: tuple[str, ...]
    image_templates: tuple[str, ...]
    modalities: tuple[Modality, ...]
    images: tuple[ImageKind, ...]
    together: Mapping[frozenset[str], ImageKind]
    names: Mapping[str, tuple[Meaning, ...]]
    terms: Mapping[str, tuple[Meaning, ...]]
    codes: Mapping[str, Code]
    rules: tuple[str, ...] = ()

    def code(self, name: str) -> Code | None:
        """The code of a class by its name, or by that of a class that the name means; None where no file has one."""
        known = (self.codes.get(key(word)) for word in (name, *(meaning.name for meaning in self.find(name))))
        return next((code for code in known if code), None)

    def find(self, name: str) -> tuple[Meaning, ...]:
        """The meanings of a class name: by name, negated, with its body part, or as a term; () if unknown."""
        return (
            self.names.get(key(name)) or self._signed(name) or self._with_kind_of_image(name) or self._with_term(name)
        )

    def _signed(self, name: str) -> tuple[Meaning, ...]:
        """`no pneumonia`, `pneumonia-negative`: the opposite of a known class; `pneumonia-positive`: the class."""
        name = _written_sign(name)
        if match := re.fullmatch(r"(?i)(.+?)[\s_-]+(?:positive|present)", name):
            return self.names.get(key(match[1]), ())
        match = re.fullmatch(r"(?i)(?:no|not|non|without)[\s_-]+(.+)|(.+?)[\s_-]+(?:negative|absent)", name)
        found = []
        for meaning in self.names.get(key(match[1] or match[2]), ()) if match else ():
            nouns = [re.sub(r"^(an?|the) ", "", term) for term in meaning.terms]
            terms = tuple(f"no {noun}" for noun in nouns if not re.match(r"no |normal|healthy", noun))
            if terms and not meaning.picture:
                found.append(replace(meaning, name=f"no {meaning.name}", also=(), terms=terms, sentences=()))
        return tuple(found)

    def _with_kind_of_image(self, name: str) -> tuple[Meaning, ...]:
        """`normal chest`, `CT pneumonia`: a known class on the kind of image named beside it."""
        words = spoken(name).split()
        for cut in range(1, len(words)):
            start, end = " ".join(words[:cut]), " ".join(words[cut:])
            for place, thing in ((start, end), (end, start)):
                kinds = [m.image for m in self.names.get(key(place), ()) if m.picture and m.image]
                known = [m for m in self.names.get(key(thing), ()) if not m.picture]
                if found := tuple(m for m in known if any(kind.covers(m.image) for kind in kinds)):
                    return found
        return ()

    def _with_term(self, name: str) -> tuple[Meaning, ...]:
        """A term of a known class may say less than the class (fibroadenoma: benign), so it stands for itself."""
        found = self.terms.get(key(name), ())
        return tuple(m if m.picture else replace(m, name=spoken(name), also=(), terms=(spoken(name),)) for m in found)

    def kind(self, words: str) -> ImageKind:
        """The kind of image that `words` name: a kind ("chest X-ray", "CXR") or a modality of any body part ("CT").

        Raises
        ------
        UsageError
            Where there is no such kind and no such modality.
        """
        if found := kind_named(words, self.images, self.modalities):
            return found
        known = [kind.name for kind in self.images] + [modality.name for modality in self.modalities]
        near = difflib.get_close_matches(words, known, n=3, cutoff=0.4) or [m.name for m in self.modalities[:6]]
        raise UsageError(
            f"There is no modality or kind of image named {words!r}; the nearest known are {', '.join(near)}. "
            "Name a modality (CT), or a modality and body part (chest X-ray)."
        )


def spoken(name: str) -> str:
    """A class name as it is put in a sentence: underscores are spaces.

    >>> spoken("kidney_stone")
    'kidney stone'
    """
    return " ".join(name.replace("_", " ").split()) or name.strip()


def key(name: str) -> str:
    """What two spellings of one name share: no case, spaces, hyphens, plurals or British spelling.

    >>> key("Brain_Tumours") == key("brain tumor"), key("X-ray") == key("xray")
    (True, True)
    """
    text = _written_sign(unicodedata.normalize("NFKC", name).casefold())
    text = re.sub(r"['\u2019`]", "", text).replace("&", " and ").replace("_", " ")
    return "".join(_singular(_american(word)) for word in re.findall(r"\w+", text)) or text


def _written_sign(name: str) -> str:
    return re.sub(r"(?<=\w)[-\u2212]$", " negative", re.sub(r"(?<=\w)\+$", " positive", name.strip()))


def _american(word: str) -> str:
    for british, american in (
        ("aem", "em"),
        ("oed", "ed"),
        ("oes", "es"),
        ("our", "or"),
        ("naev", "nev"),
        ("leuc", "leuk"),
    ):
        word = word.replace(british, american)
    return word.replace("isation", "ization").replace("paed", "ped")


def _singular(word: str) -> str:
    if len(word) < 4:
        return word
    for plural, singular in (("sses", "ss"), ("oses", "osis"), ("ies", "y")):
        if word.endswith(plural):
            return word.removesuffix(plural) + singular
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def kind_named(words: str, images: Sequence[ImageKind], modalities: Sequence[Modality]) -> ImageKind | None:
    """The kind of image of that name or term, or a modality's, where it makes one kind or the words name no body part."""
    wanted = key(words)
    if named := [kind for kind in images if key(kind.name) == wanted]:
        return named[0]
    for modality in modalities:
        if wanted in map(key, (modality.name, *modality.also)):
            kinds = [kind for kind in images if kind.modality == modality]
            return kinds[0] if len(kinds) == 1 else modality.any_part()
    return next((kind for kind in images if wanted in map(key, (*kind.also, *paraphrases(kind)))), None)


def paraphrases(kind: ImageKind) -> tuple[str, ...]:
    """The other orders of its words: chest CT, CT chest, CT of the chest."""
    return tuple(
        form
        for modality in ((kind.modality.name, *kind.modality.also) if kind.part else ())
        for form in (f"{kind.part} {modality}", f"{modality} {kind.part}", f"{modality} of the {kind.part}")
    )
