"""Features by the kind of the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, UnknownFormatError, UsageError
from hashret.features.contract import FORMAT, ArrayReader, Features
from hashret.features.image_features import ImageFeatures
from hashret.features.text_kinds import learn_text_features, text_features_from_json
from hashret.features.vector_features import COSINE_FORMAT, VectorFeatures

KINDS = ("images", "text", "vectors")

_FORMATS = {"vectors": (FORMAT, COSINE_FORMAT)}


def learn_features(kind: str, values: Iterable[Any], method: str = "auto") -> Features:
    """Decide from a sample of values how they become rows of a matrix.

    Args:
        kind: ``"images"``, ``"text"`` or ``"vectors"``, as the source says.
        values: a sample, or all; unreadable images are passed over. Images and vectors tell their
            shape by a few; what is learned of texts is better the more there are.
        method: of texts, see :func:`hashret.features.text_kinds.learn_text_features`.

    Raises:
        InputError: no value can be used, or they do not go together.
        UsageError: an unknown kind or method.

    Example:
        >>> learn_features("vectors", [[0.0, 1.0, 2.0]]).describe()
        'vectors of 3 values'
    """
    if kind not in KINDS:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    if kind == "text":
        return learn_text_features(values, method)
    if method != "auto":
        raise UsageError(f"features={method!r} is for texts; these are {kind}: leave it at 'auto'.")
    return ImageFeatures.learn(values) if kind == "images" else VectorFeatures.learn(values)


def features_from_json(settings: dict[str, Any], read_array: ArrayReader | None = None) -> Features:
    """Make the features that ``to_json`` and ``arrays`` described.

    Args:
        settings: of ``to_json``.
        read_array: reads one of ``arrays`` by its name.

    Raises:
        DamagedIndexError: an unknown kind or format, or settings or arrays that make no sense.
    """
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if kind not in KINDS:
        raise DamagedIndexError(
            f"Expected features of kind {' or '.join(KINDS)}, found {kind!r}: features.json is "
            "damaged, or was written by a newer version of hashret."
        )
    formats = _FORMATS.get(kind, (FORMAT, FORMAT))
    if type(settings.get("format")) is not int or not (
        formats[0] <= settings["format"] <= formats[1]
    ):
        raise UnknownFormatError(
            "features.json",
            settings.get("format"),
            formats,
            "It is damaged, or was written by a newer version of hashret: use that, or restore the "
            "encoder folder from a copy.",
        )
    if kind == "text":
        return text_features_from_json(settings, read_array or _no_array)
    return (ImageFeatures if kind == "images" else VectorFeatures).from_json(settings)


def _no_array(name: str) -> NDArray[Any]:
    raise DamagedIndexError(f"{name}, which belongs to features.json, is not there.")
