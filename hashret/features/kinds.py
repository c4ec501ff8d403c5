"""Features by the kind of the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hashret.errors import DamagedIndexError, UnknownFormatError, UsageError
from hashret.features.contract import FORMAT, Features
from hashret.features.images import ImageFeatures
from hashret.features.vectors import COSINE_FORMAT, VectorFeatures

KINDS: dict[str, type[Features]] = {"images": ImageFeatures, "vectors": VectorFeatures}

_FORMATS = {"vectors": (FORMAT, COSINE_FORMAT)}


def learn_features(kind: str, values: Iterable[Any]) -> Features:
    """Decide from a sample of values how they become rows of a matrix.

    Args:
        kind: ``"images"`` or ``"vectors"``, as the source says.
        values: a sample, or all; unreadable images are passed over.

    Raises:
        InputError: no value can be used, or they do not go together.
        UsageError: an unknown kind.

    Example:
        >>> learn_features("vectors", [[0.0, 1.0, 2.0]]).describe()
        'vectors of 3 values'
    """
    if kind not in KINDS:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    return KINDS[kind].learn(values)


def features_from_json(settings: dict[str, Any]) -> Features:
    """Make the features that ``to_json`` described.

    Raises:
        DamagedIndexError: an unknown kind or format, or settings that make no sense.
    """
    kind = settings.get("kind") if isinstance(settings, dict) else settings
    if not isinstance(kind, str) or kind not in KINDS:
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
    return KINDS[kind].from_json(settings)
