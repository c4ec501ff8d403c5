"""Semantic hashing: learn compact binary codes without labels, and search them exactly.

Example:
    >>> import hashret, numpy as np
    >>> vectors = np.random.default_rng(0).normal(size=(500, 16))
    >>> index = hashret.create("indexes/example", vectors, n_bits=32)  # doctest: +SKIP
    >>> for hit in index.query(vectors[7], limit=5):  # doctest: +SKIP
    ...     hit.key, hit.distance
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hashret.errors import (
    DamagedIndexError,
    EncoderMismatchError,
    HashretError,
    IndexExistsError,
    IndexLockedError,
    IndexNotFoundError,
    InputError,
    KeyNotFoundError,
    NoEncoderError,
    NotFittedError,
    ShardUnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from hashret.cluster.cluster_index import ClusterIndex
    from hashret.cluster.cluster_opening import open_cluster
    from hashret.cluster.cluster_opening import open_index as open  # noqa: A004 - the contract's name
    from hashret.encoder import SemanticHasher
    from hashret.index.duplicates import DuplicateGroup, DuplicateItem, DuplicatePair
    from hashret.index.encoding import AddReport
    from hashret.index.index import Index
    from hashret.index.outliers import Outlier, Outliers
    from hashret.index.result import Hit, Result
    from hashret.progress import Progress
    from hashret.search import CodeIndex
    from hashret.store import StoredItem
    from hashret.web.client import Client

    create = Index.create
    create_from_codes = Index.create_from_codes
    __version__: str

# Loaded when first used: `import hashret` costs nothing, and a query never meets TensorFlow.
_HOMES = {
    "AddReport": "hashret.index.encoding",
    "Client": "hashret.web.client",
    "ClusterIndex": "hashret.cluster.cluster_index",
    "CodeIndex": "hashret.search",
    "DuplicateGroup": "hashret.index.duplicates",
    "DuplicateItem": "hashret.index.duplicates",
    "DuplicatePair": "hashret.index.duplicates",
    "Hit": "hashret.index.result",
    "Index": "hashret.index",
    "Outlier": "hashret.index.outliers",
    "Outliers": "hashret.index.outliers",
    "Progress": "hashret.progress",
    "Result": "hashret.index.result",
    "SemanticHasher": "hashret.encoder",
    "StoredItem": "hashret.store",
    "open_cluster": "hashret.cluster.cluster_opening",
}

__all__ = [
    "AddReport",
    "Client",
    "ClusterIndex",
    "CodeIndex",
    "DamagedIndexError",
    "DuplicateGroup",
    "DuplicateItem",
    "DuplicatePair",
    "EncoderMismatchError",
    "HashretError",
    "Hit",
    "Index",
    "IndexExistsError",
    "IndexLockedError",
    "IndexNotFoundError",
    "InputError",
    "KeyNotFoundError",
    "NoEncoderError",
    "NotFittedError",
    "Outlier",
    "Outliers",
    "Progress",
    "Result",
    "SemanticHasher",
    "ShardUnavailableError",
    "StoredItem",
    "UsageError",
    "__version__",
    "create",
    "create_from_codes",
    "open",
    "open_cluster",
]


def __getattr__(name: str) -> Any:
    if name in ("create", "create_from_codes"):
        return getattr(import_module("hashret.index").Index, name)
    if name == "open":
        return import_module("hashret.cluster.cluster_opening").open_index
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("hashret")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
