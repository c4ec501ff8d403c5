"""How well codes retrieve: measures, and the classical hashing methods to compare with."""

from __future__ import annotations

from hashret.encoder.baselines import ITQ, PCAHash, RandomHyperplanes, SpectralHashing
from hashret.evaluation.metrics import (
    BucketStatistics,
    Histograms,
    RetrievalScores,
    average_precision,
    bucket_statistics,
    code_histograms,
    precision_at,
    precision_within,
    score_codes,
    score_vectors,
)

__all__ = [
    "ITQ",
    "BucketStatistics",
    "Histograms",
    "PCAHash",
    "RandomHyperplanes",
    "RetrievalScores",
    "SpectralHashing",
    "average_precision",
    "bucket_statistics",
    "code_histograms",
    "precision_at",
    "precision_within",
    "score_codes",
    "score_vectors",
]
