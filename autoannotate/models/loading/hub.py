"""Files of the Hugging Face hub: from the local cache, else over the network, else one sentence.

The hub's own client keeps trying for half a minute and logs every try, so it is called only after a look
whether the hub answers at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autoannotate.errors import ModelError
from autoannotate.models import OPEN_CLIP_WEIGHTS, TRANSFORMERS_WEIGHTS, cached_file
from autoannotate.models.loading.common import OPEN_CLIP_CONFIG, TOKENIZER_FILES, WAYS_OUT, first_line, quiet

_TIMEOUT_S = 5.0
_FORMS = ((OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS), ("config.json", TRANSFORMERS_WEIGHTS))


def model_folder(repo: str, name: str) -> Path:
    """The local folder with a repository's model, in open_clip's form if it has that one, else in
    transformers'.

    Raises
    ------
    ModelError
        Speaking of the model by `name`, if it is neither here nor to be had.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ModelError(
            f"{name} names no repository of the Hugging Face hub, which would be hf-hub:organisation/model; {WAYS_OUT}."
        ) from error
    for config, weights in _FORMS:
        cached = cached_file(repo, [config])
        if cached and cached_file(repo, weights):
            return cached.parent
    for config, weights in _FORMS:
        found = file(repo, [config], name)
        if found and file(repo, weights, name):
            for extra in (*TOKENIZER_FILES, "preprocessor_config.json", "config.json"):
                file(repo, [extra], name)
            return found.parent
    raise ModelError(f"The repository {repo} on the Hugging Face hub holds no CLIP weights; {WAYS_OUT}.")


def file(repo: str, names: Sequence[str], name: str) -> Path | None:
    """The first of the named files of a repository, or None if it has none of them.

    Raises
    ------
    ModelError
        Speaking of the model by `name`, if none is in the cache and the hub cannot be asked.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    cached = cached_file(repo, names)
    if cached:
        return cached
    with _one_sentence(repo, name):
        for candidate in names:
            try:
                return Path(hf_hub_download(repo, candidate, etag_timeout=_TIMEOUT_S))
            except LocalEntryNotFoundError:  # the connection broke; this too is an EntryNotFoundError
                raise
            except EntryNotFoundError:
                continue
    return None


@contextmanager
def _one_sentence(repo: str, name: str) -> Iterator[None]:
    """Turn whatever keeps a file from coming into one sentence with the ways out."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if not _answers():
        raise ModelError(
            f"The weights of {name} ({repo}) are not on this machine "
            f"and the Hugging Face hub cannot be reached: {WAYS_OUT}."
        )
    try:
        with quiet():
            yield
    except GatedRepoError as error:
        raise ModelError(
            f"The weights of {name} are given to those who accept their terms "
            f"at https://huggingface.co/{repo} and log in with `hf auth login`; else {WAYS_OUT}."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no repository {repo} on the Hugging Face hub, or it is private; {WAYS_OUT}."
        ) from error
    except Exception as error:  # a broken line, a full disk, a proxy's page instead of the file
        raise ModelError(
            f"The weights of {name} ({repo}) cannot be downloaded ({first_line(error)}); {WAYS_OUT}."
        ) from error


def _answers() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_TIMEOUT_S)
    except Exception:  # a name server, a proxy, a certificate: all the same to the user
        return False
    return True
