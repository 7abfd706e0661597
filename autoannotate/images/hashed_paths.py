"""Names of files and folders as keyed hashes, for runs whose folders are named after patients; and where the images are.

What stands in tables, reports and exports is the hash of each folder's and file's name (`keyed_hash`). Where the images are is
kept beside the key, for this user alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from autoannotate._internal.files import write_files
from autoannotate.images.find import natural
from autoannotate.images.keyed_hash import key_file, keyed_hash
from autoannotate.images.kinds import UNKNOWN
from autoannotate.images.ref import Found, ImageRef, Item, PassedOver
from autoannotate.images.registry import readers

HIDDEN = "IMAGES"  # what run.json and the report have in place of where the images are
PLACES = "places.json"  # beside the key: where the images of runs with hashed names are


def hashed(refs: Sequence[ImageRef]) -> list[ImageRef]:
    """The same images under hashed names, in natural path order; endings of image formats and numbers of frames stay.

    The same folder has the same name in every run of whoever holds the key.

    Raises
    ------
    InputError
        Where there can be no key.
    """
    return sorted((replace(ref, path=_hashed(ref)) for ref in refs), key=natural)


def without_names(found: Found) -> Found:
    """The same images; files of a kind that is known by the ending alone are of an unknown one, as `Doe.Jane` is no format."""
    counts: Counter[PassedOver] = Counter()
    for group in found.passed_over:
        kind = UNKNOWN if group.kind.startswith(".") else replace(group, count=1)
        counts[kind] += group.count
    return replace(found, passed_over=tuple(replace(group, count=count) for group, count in counts.items()))


def renamed(before: Sequence[Item], after: Sequence[Item]) -> dict[str, str]:
    """The name of each item after hashing, by its name before; the items are those of the same images, in any order."""
    names = {_images_of(item): item.path for item in after}
    return {item.path: names[_images_of(item)] for item in before}


def _images_of(item: Item) -> frozenset[Hashable]:
    return frozenset((ref.file, ref.content, ref.frame) for ref in item.refs)


def remember_place(location: str) -> str:
    """Keep where images are beside the key; the name under which `place` finds it. Raises `InputError` or `OutputError`."""
    name = keyed_hash(location)
    known = _places()
    if known.get(name) != location:
        file = key_file().with_name(PLACES)
        write_files({file: json.dumps(known | {name: location}, indent=1).encode("utf-8", "surrogateescape")})
        file.chmod(0o600)
    return name


def place(name: str) -> str | None:
    """Where the images are that `remember_place` gave this name to; None where this user never saw them."""
    return _places().get(name)


def _places() -> dict[str, str]:
    try:
        known = json.loads(key_file().with_name(PLACES).read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(location) for name, location in known.items()} if isinstance(known, dict) else {}


def _hashed(ref: ImageRef) -> str:
    path, frame = (ref.path, "") if ref.frame is None else ref.path.rsplit("#", 1)
    *folders, name = path.split("/")
    suffixes = sorted({suffix for reader in readers() for suffix in reader.suffixes}, key=len, reverse=True)
    suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return "/".join([*map(keyed_hash, folders), keyed_hash(name) + suffix]) + (f"#{frame}" if frame else "")
