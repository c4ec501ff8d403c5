"""Matrix -> codes: the hasher that learns, and the runtime that encodes.

The names are imported when first used: encoding alone loads neither TensorFlow nor scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashret.encoder.artefacts import open_encoder
    from hashret.encoder.estimator import CodeEstimator, open_hasher
    from hashret.encoder.float_autoencoder import FloatAutoencoder
    from hashret.encoder.hasher import SemanticHasher
    from hashret.encoder.runtime import Encoder
    from hashret.encoder.training_progress import TrainingProgress

__all__ = [
    "CodeEstimator",
    "Encoder",
    "FloatAutoencoder",
    "SemanticHasher",
    "TrainingProgress",
    "open_encoder",
    "open_hasher",
]

_MODULES = {
    "CodeEstimator": "estimator",
    "Encoder": "runtime",
    "FloatAutoencoder": "float_autoencoder",
    "SemanticHasher": "hasher",
    "TrainingProgress": "training_progress",
    "open_encoder": "artefacts",
    "open_hasher": "estimator",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
