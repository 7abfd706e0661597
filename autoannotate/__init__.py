"""Labels for unlabelled medical images: CLIP proposes, cleanlab doubts, a CNN corrects, a clinician decides."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoannotate._internal.version import __version__
    from autoannotate.annotator.annotations import Annotations
    from autoannotate.annotator.annotator import Annotator
    from autoannotate.annotator.findings_annotator import FindingsAnnotator

__all__ = ["Annotations", "Annotator", "FindingsAnnotator", "__version__"]
PLACES = {
    "Annotations": "annotator.annotations",
    "Annotator": "annotator.annotator",
    "FindingsAnnotator": "annotator.findings_annotator",
    "__version__": "_internal.version",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used, so that `autoannotate --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
