"""A large volume is read in the time and memory that one file may take."""

from __future__ import annotations

import time
from pathlib import Path

import nibabel
import numpy as np
from test_images import pixels

from autoannotate.images import scaling


def test_the_window_of_a_large_volume_costs_little_and_is_that_of_all_its_voxels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 300, (256, 256, 300)).astype(np.int16)  # 20 million
    start = time.process_time()
    low, high = scaling.stretched_from(values)
    assert time.process_time() - start < 2
    assert np.allclose((low, high), np.percentile(values[::2, ::2], scaling.PERCENTILES), atol=5)
    sparse = np.zeros((300, 300, 300), np.uint8)
    sparse[1, 1, 1] = 7  # between the steps
    assert scaling.stretched_from(sparse) == (0, 7)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "large.nii")
    assert pixels(tmp_path / "large.nii", 150).std() > 30
