"""features.json: what is written is read, and anything else is called damaged."""

import json
import subprocess
import sys

import pytest

from hashret.errors import DamagedIndexError, UsageError
from hashret.features import (
    ImageFeatures,
    VectorFeatures,
    features_from_json,
    learn_features,
)

ALL = [
    ImageFeatures(28, 28, 1, (28, 28)),
    ImageFeatures(32, 32, 3, (80, 80, 3)),
    ImageFeatures(10, 20, 3),
    VectorFeatures(64),
]


@pytest.mark.parametrize("features", ALL, ids=lambda features: features.describe())
def test_there_and_back(features):
    again = features_from_json(json.loads(json.dumps(features.to_json())))
    assert again == features
    assert (again.kind, again.n_features) == (features.kind, features.n_features)
    assert again.describe() == features.describe()


@pytest.mark.parametrize("features", ALL, ids=lambda features: features.describe())
@pytest.mark.parametrize("bad", ["missing", None, 0, -1, "28", 2.5, True, [], {}])
def test_settings_that_make_no_sense_are_damaged(features, bad):
    settings = features.to_json()
    for name in settings:
        altered = {key: value for key, value in settings.items() if key != name}
        if bad != "missing":
            altered[name] = bad
        if name == "array_shape" and bad in ("missing", None):
            continue
        with pytest.raises(DamagedIndexError, match=r"features\.json"):
            features_from_json(altered)


@pytest.mark.parametrize(
    "settings",
    [None, [], "text", {}, {"kind": "sounds", "format": 1}, {"kind": "vectors", "format": 2}],
)
def test_unknown_kinds_and_formats_are_damaged(settings):
    with pytest.raises(DamagedIndexError, match=r"features\.json"):
        features_from_json(settings)


def test_an_unknown_kind_cannot_be_learned():
    with pytest.raises(UsageError, match="images, text, vectors"):
        learn_features("sounds", [])


def test_a_query_without_an_image_file_loads_no_heavy_library():
    """A query by vector or array starts without Pillow, and never with a learning library."""
    program = """
import sys
import numpy as np
from hashret.features import features_from_json
from hashret.sources import read_value
features_from_json({"kind": "vectors", "format": 1, "n_features": 3}).vector([1, 2, 3])
images = {"kind": "images", "format": 1, "height": 2, "width": 2, "channels": 1}
features_from_json(images).vector(np.zeros((2, 2), np.uint8))
heavy = {"PIL", "tensorflow", "keras", "sklearn", "faiss", "numba", "scipy", "pandas"}
sys.exit(", ".join(heavy & set(sys.modules)) or None)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
