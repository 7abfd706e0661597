"""The codes by which structured reports name classes: each a SNOMED CT identifier, with the meaning that DICOM gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydicom.sr._concepts_dict import concepts

CODES = yaml.safe_load((Path(__file__).parents[1] / "prompts" / "codes.yaml").read_text(encoding="utf-8"))["codes"]
IN_DICOM = {
    code: meaning for entries in concepts["SCT"].values() for code, (meaning, _) in entries.items()
}  # PS3.16, as pydicom has it
OTHERWISE = {"193570009"}  # "Lens Opacity" in DICOM's tables, "Cataract (disorder)" in SNOMED CT
# Verhoeff's dihedral check, by which SNOMED CT identifiers end (Technical Implementation Guide, 5.5)
MULTIPLY = [[(j + i) % 5 if i < 5 and j < 5 else 5 + (j - 5 + i) % 5 if i < 5 else 5 + (i - 5 - j) % 5 if j < 5 else (i - j) % 5
             for j in range(10)] for i in range(10)]  # fmt: skip
STEP = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]


def checks(identifier: str) -> bool:
    total = 0
    for place, digit in enumerate(map(int, reversed(identifier))):
        for _ in range(place % 8):
            digit = STEP[digit]
        total = MULTIPLY[total][digit]
    return total == 0


def test_the_check_finds_a_wrong_digit() -> None:
    assert checks("233604007")
    assert not checks("233604008")
    assert not checks("236304007")


@pytest.mark.parametrize("name", CODES)
def test_a_code_is_an_identifier_with_its_meaning(name: str) -> None:
    scheme, code, meaning = CODES[name].split(" ", 2)
    assert scheme == "SCT"
    assert checks(code)
    known = IN_DICOM.get(code)
    if known is not None and code not in OTHERWISE:
        assert meaning.split()[0].lower()[:4] in known.lower(), known
