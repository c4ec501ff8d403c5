"""How well codes retrieve: measures, and the classical hashing methods to compare with."""

from __future__ import annotations

from hashret.codes import CodeStatistics, code_statistics
from hashret.encoder.baselines import ITQ, PCAHash, RandomHyperplanes, SpectralHashing
from hashret.evaluation.evaluating import evaluate
from hashret.evaluation.float_vectors import NearestVectors, score_vectors
from hashret.evaluation.histograms import Histograms, code_histograms, neighbour_histograms
from hashret.evaluation.metrics import (
    RadiusCurve,
    RetrievalScores,
    average_precision,
    precision_at,
    precision_within,
    radius_curve,
    recall_at,
    recall_within,
    score_codes,
)
from hashret.evaluation.reconstruction import ReconstructionScores, reconstruction_scores
from hashret.evaluation.report import EvaluationReport
from hashret.evaluation.search_cost import SearchCost, search_costs

__all__ = [
    "ITQ",
    "CodeStatistics",
    "EvaluationReport",
    "Histograms",
    "NearestVectors",
    "PCAHash",
    "RadiusCurve",
    "RandomHyperplanes",
    "ReconstructionScores",
    "RetrievalScores",
    "SearchCost",
    "SpectralHashing",
    "average_precision",
    "code_histograms",
    "code_statistics",
    "evaluate",
    "neighbour_histograms",
    "precision_at",
    "precision_within",
    "radius_curve",
    "recall_at",
    "recall_within",
    "reconstruction_scores",
    "score_codes",
    "score_vectors",
    "search_costs",
]
