"""Volumes of neuroimaging programs and of Philips scanners, through nibabel: MGH and MGZ (FreeSurfer), MINC, AFNI, PAR/REC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoannotate.images import nifti, volume


def _opened(file: Path) -> Any:
    import nibabel

    return nibabel.load(file)


READER = volume.reader(
    formats="MGH, MINC, AFNI and PAR/REC",
    suffixes=frozenset({".mgh", ".mgz", ".mnc", ".head", ".par"}),
    recognises=lambda head: False,  # their contents begin as those of other files do: a number, a text, NetCDF, HDF5
    frames=lambda file: nifti.frames_in(_opened(file)),
    load=lambda file: nifti.load(file, _opened),
)
