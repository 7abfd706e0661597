"""What the modules that load models share: file names, the end of their sentences, and silence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

OPEN_CLIP_CONFIG = "open_clip_config.json"
VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)

WAYS_OUT = "choose another model, such as embedded, or give the path of a local checkpoint"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, short enough to stand in a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".;: ")[:200] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip and the hub from logging and warning about choices that are made here on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
