"""Zero-shot labels: image embeddings against the embeddings of the sentences that describe each class.

After CLIP (Radford et al. 2021, arXiv 2103.00020), section 3.1: a class is the mean of its prompts' embeddings, made
unit length again ("ensembled in embedding space"), and the probabilities are a softmax over scaled cosines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

BLOCK = 20_000  # embeddings that are copied at once


def class_embeddings(text_embeddings: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """The embedding of each class: the mean of its prompts' embeddings, of unit length.

    Parameters
    ----------
    text_embeddings : sequence of K arrays (P_k, D)
        The prompts of each class. Every prompt counts the same, whatever the length of its vector.

    Returns
    -------
    (K, D) array of unit rows

    Raises
    ------
    ValueError
        Where a class has no prompt.

    Examples
    --------
    >>> class_embeddings([np.array([[3.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 2.0]])]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if any(len(texts) == 0 for texts in text_embeddings):
        raise ValueError("every class needs at least one prompt")
    return _unit(np.stack([_unit(np.asarray(texts)).mean(axis=0) for texts in text_embeddings]))


def distribution_normalised(image_embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Unit embeddings less half their mean: test-time distribution normalisation.

    The mean stands in for the negative pairs that contrastive training had and testing has not. It moves thresholds between
    classes that training put in the wrong place, and keeps the order of the images along every direction. (The same shift of
    the texts cancels out.)

    Parameters
    ----------
    image_embeddings : (N, D) array
        Of unlabelled images.

    Returns
    -------
    (N, D) array

    References
    ----------
    Zhou et al. 2023, arXiv 2302.11084, eq. 7.
    """
    return np.concatenate(list(unit_blocks(image_embeddings))) - half_mean(image_embeddings)


def half_mean(image_embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Half the mean of the unit rows of (N, D), (D,): what `distribution_normalised` takes away."""
    blocks = [(len(block), block.mean(axis=0)) for block in unit_blocks(image_embeddings)]
    sizes, means = zip(*blocks, strict=True)
    mean: NDArray[np.float32] = (
        means[0] if len(sizes) == 1 else np.average(means, axis=0, weights=sizes).astype(np.float32)
    )
    return mean / np.float32(2)


def unit_blocks(image_embeddings: NDArray[np.floating]) -> Iterator[NDArray[np.float32]]:
    """The rows of (N, D) at unit length, `BLOCK` at a time."""
    for start in range(0, max(len(image_embeddings), 1), BLOCK):
        yield _unit(np.asarray(image_embeddings[start : start + BLOCK]))


def probabilities(
    image_embeddings: NDArray[np.floating], class_embeddings: NDArray[np.floating], logit_scale: float
) -> NDArray[np.float64]:
    """Class probabilities: the softmax of `logit_scale` times the cosines of images and classes.

    Parameters
    ----------
    image_embeddings : (N, D) array of unit rows
    class_embeddings : (K, D) array
    logit_scale : float
        The model's learnt inverse temperature, already exponentiated (CLIP ends near 100).

    Returns
    -------
    (N, K) array
        Rows sum to one.

    References
    ----------
    Radford et al. 2021, arXiv 2103.00020, section 3.1.
    """
    similarities = np.asarray(image_embeddings) @ _unit(np.asarray(class_embeddings)).T
    return softmax(logit_scale * similarities.astype(np.float64), axis=1)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = rows.astype(np.float32, copy=False)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.float32(1e-12))
