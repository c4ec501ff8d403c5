"""What an evaluation found, as numbers by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from hashret.codes import CodeStatistics
from hashret.evaluation.metrics import RadiusCurve
from hashret.evaluation.reconstruction import ReconstructionScores
from hashret.evaluation.search_cost import SearchCost


@dataclass(frozen=True)
class EvaluationReport:
    """How well an index answers.

    Attributes:
        index: its folder.
        items: how many items it holds.
        n_bits: code length in bits.
        queries: how many were asked.
        asked: what they are, in words.
        truth: what counts as relevant, in words.
        map_all: mean average precision over all items.
        map_1000: mean average precision among the first 1,000.
        precision: share of relevant items among the first ``k``, by ``k``.
        float_precision: the same of a ranking by the distance of the features; None where they
            cannot be read, or are the truth themselves.
        radius: precision, recall, items and empty balls within each radius.
        neighbour_recall: share of the 10 nearest by features that are among the first ``k`` by
            code, by ``k``; None where features cannot be read.
        reconstruction: errors beside those of principal components; None likewise.
        codes: bits and buckets.
        search: what searching costs.
        notes: what could not be measured, and why.

    Example:
        >>> from hashret.evaluation import evaluate
        >>> evaluate(hashret.open("indexes/fashion")).map_1000  # doctest: +SKIP
        0.61
    """

    index: str
    items: int
    n_bits: int
    queries: int
    asked: str
    truth: str
    map_all: float
    map_1000: float
    precision: dict[int, float]
    float_precision: dict[int, float] | None
    radius: RadiusCurve
    neighbour_recall: dict[int, float] | None
    reconstruction: ReconstructionScores | None
    codes: CodeStatistics
    search: list[SearchCost]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; ``radius`` is a list, from radius 0 on."""
        curve = self.radius
        return {
            **asdict(self),
            "precision": _by_text(self.precision),
            "float_precision": _by_text(self.float_precision),
            "neighbour_recall": _by_text(self.neighbour_recall),
            "radius": [
                {
                    "radius": radius,
                    "precision": float(curve.precision[radius]),
                    "recall": float(curve.recall[radius]),
                    "items": float(curve.items[radius]),
                    "empty": float(curve.empty[radius]),
                }
                for radius in range(len(curve.precision))
            ],
        }

    def summary(self) -> list[dict[str, Any]]:
        """The figures that fit a table: ``name`` and ``value``."""
        values: dict[str, Any] = {
            "items": self.items,
            "bits": self.n_bits,
            "queries": self.asked,
            "relevant": self.truth,
            "mAP": self.map_all,
            "mAP@1000": self.map_1000,
            **{f"P@{k}": value for k, value in self.precision.items()},
            **{f"P@{k} of the features": v for k, v in (self.float_precision or {}).items()},
        }
        for radius in (0, 1, 2):
            within = f"within radius {radius}"
            values[f"precision {within}"] = float(self.radius.precision[radius])
            values[f"recall {within}"] = float(self.radius.recall[radius])
            values[f"items {within}"] = float(self.radius.items[radius])
            values[f"queries with nothing {within}"] = float(self.radius.empty[radius])
        for k, value in (self.neighbour_recall or {}).items():
            values[f"10 nearest by features among the first {k}"] = value
        if (scores := self.reconstruction) is not None:
            values["squared error of reconstruction"] = scores.codes
            values[f"the same of {_components(scores.same_bits_components)}"] = scores.same_bits
            many = scores.same_dimensions_components
            values[f"the same of {_components(many)}"] = scores.same_dimensions
            values["the same of the mean"] = scores.variance
        values |= {
            "distinct codes": self.codes.buckets,
            "others in an item's bucket": self.codes.mean_sharing,
            "largest bucket": self.codes.largest,
            "bit entropy": self.codes.bit_entropy,
            "lowest bit entropy": self.codes.lowest_bit_entropy,
            "bit correlation": self.codes.bit_correlation,
            "largest bit correlation": self.codes.largest_bit_correlation,
        }
        for cost in self.search:
            name = f"{cost.search}{', random codes' if cost.codes == 'random' else ''}"
            values[f"{name}: microseconds"] = round(cost.microseconds, 1)
            values[f"{name}: candidates"] = round(cost.candidates, 1)
            values[f"{name}: probes"] = round(cost.probes, 1)
        return [{"name": name, "value": _rounded(value)} for name, value in values.items()]


def _components(count: int) -> str:
    return f"{count:,} principal component{'s' * (count != 1)}"


def _by_text(values: dict[int, float] | None) -> dict[str, float] | None:
    return None if values is None else {str(k): value for k, value in values.items()}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
