"""Features: item values as rows of a ``float32`` matrix, and back where that is possible.

:func:`learn_features` decides the shape of a row from a sample of values; ``to_json`` and
:func:`features_from_json` carry that decision to a query.
"""

from __future__ import annotations

from hashret.features.contract import Failure, Features
from hashret.features.image_features import ImageFeatures
from hashret.features.kinds import features_from_json, learn_features
from hashret.features.text import TextFeatures
from hashret.features.vector_features import VectorFeatures

__all__ = [
    "Failure",
    "Features",
    "ImageFeatures",
    "TextFeatures",
    "VectorFeatures",
    "features_from_json",
    "learn_features",
]
