"""Codes by several methods on one corpus, and how well they retrieve."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarking.corpora import Corpus
from hashret.encoder import SemanticHasher
from hashret.evaluation import (
    ITQ,
    PCAHash,
    RandomHyperplanes,
    SpectralHashing,
    average_precision,
    code_histograms,
    code_statistics,
    precision_at,
    precision_within,
    score_vectors,
    search_costs,
)

Run = dict[str, Any]

CLASSICAL = {
    "LSH": RandomHyperplanes,
    "sign-PCA": PCAHash,
    "spectral hashing": SpectralHashing,
    "ITQ": ITQ,
}
WITHOUT_CHANCE = ("sign-PCA", "spectral hashing")

COLUMNS = (
    ("map_all", "mAP@all", "{:.3f}"),
    ("map", "mAP@1000", "{:.3f}"),
    ("precision", "P@100", "{:.3f}"),
    ("ball_precision", "P@r2", "{:.3f}"),
    ("empty_balls", "empty balls", "{:.1%}"),
    ("mean_sharing", "mean bucket", "{:.1f}"),
    ("bit_entropy", "bit entropy", "{:.3f}"),
    ("bit_correlation", "bit corr.", "{:.3f}"),
    ("nearest_microseconds", "10-NN", "{:.0f} us"),
    ("fit_seconds", "fit", "{:.1f} s"),
)


def hashret(corpus: Corpus, bits: int, seed: int, **parameters: Any) -> SemanticHasher:
    """The hasher as `hashret index` sets it up for such items, not yet fitted."""
    shape = parameters.pop("image_shape", corpus.image_shape)
    return SemanticHasher(bits, image_shape=shape, random_state=seed, **parameters)


def measure(hasher: Any, corpus: Corpus, *, search: bool = False) -> tuple[Run, Any]:
    """Fit a hasher and score its codes; returns the figures and the hasher."""
    start = time.perf_counter()
    hasher = hasher.fit(corpus.items)
    seconds = time.perf_counter() - start
    codes, queries = hasher.transform(corpus.items), hasher.transform(corpus.queries)
    histograms = code_histograms(queries, codes, corpus.query_labels, corpus.labels)
    statistics = code_statistics(codes)
    run = {
        "map_all": float(average_precision(histograms, None).mean()),
        "map": float(average_precision(histograms, 1000).mean()),
        "precision": float(precision_at(histograms, 100).mean()),
        "ball_precision": float(precision_within(histograms, 2).mean()),
        "empty_balls": float((histograms.items[:, :3].sum(axis=1) == 0).mean()),
        "mean_sharing": statistics.mean_sharing,
        "bit_entropy": statistics.bit_entropy,
        "bit_correlation": statistics.bit_correlation,
        "fit_seconds": seconds,
    }
    if hasattr(hasher, "bottleneck_"):
        run["bottleneck"] = hasher.bottleneck_
    if search:
        costs = {
            cost.search: cost for cost in search_costs(codes, queries) if cost.codes == "index"
        }
        run["nearest_microseconds"] = costs["10 nearest"].microseconds
        run["radius_microseconds"] = costs["radius 2"].microseconds
    print(json.dumps(run), file=sys.stderr, flush=True)
    return run, hasher


def floats(corpus: Corpus, dimensions: int | None = None) -> Run:
    """Rank by Euclidean distance of the rows, or of that many principal components."""
    items, queries = corpus.items, corpus.queries
    if dimensions is not None:
        from sklearn.decomposition import PCA

        components = PCA(dimensions, random_state=0).fit(items)
        items, queries = components.transform(items), components.transform(queries)
    items, queries = np.ascontiguousarray(items), np.ascontiguousarray(queries)
    scores = score_vectors(queries, items, corpus.query_labels, corpus.labels)
    return {"map": scores.mean_average_precision, "precision": scores.precision}


def methods(corpus: Corpus, all_bits: Iterable[int], seeds: int) -> list[Run]:
    """Every method at every length: a row of the table each."""
    table = [
        row("float L2", corpus.items.shape[1] * 32, [floats(corpus)]),
        row("PCA-64 float L2", 64 * 32, [floats(corpus, 64)]),
    ]
    for bits in all_bits:
        for name, method in CLASSICAL.items():
            if name != "spectral hashing" and bits > corpus.items.shape[1]:
                continue
            runs = [
                measure(method(bits, random_state=seed), corpus, search=True)[0]
                for seed in range(1 if name in WITHOUT_CHANCE else seeds)
            ]
            table.append(row(name, bits, runs))
        if corpus.image_shape is not None:
            blind = hashret(corpus, bits, 0, image_shape=None)
            table.append(row("hashret, rows as vectors", bits, [measure(blind, corpus)[0]]))
        runs = [
            measure(hashret(corpus, bits, seed), corpus, search=True)[0] for seed in range(seeds)
        ]
        table.append(row("**hashret**", bits, runs))
    return table


def row(method: str, bits: int | str, runs: list[Run]) -> Run:
    """A row of a table: a method, its bits, and a run for each seed."""
    return {"method": method, "bits": bits, "runs": runs}


def markdown(rows: list[Run]) -> str:
    """Means over the seeds, with the range in brackets, as Markdown."""
    present = [c for c in COLUMNS if any(c[0] in run for one in rows for run in one["runs"])]
    lines = [
        "| method | bits | " + " | ".join(title for _, title, _ in present) + " |",
        "|---|---:|" + "---:|" * len(present),
    ]
    for one in rows:
        cells = [one["method"], str(one["bits"])]
        for key, _, form in present:
            values = [run[key] for run in one["runs"] if key in run]
            cell = form.format(np.mean(values)) if values else ""
            if len(values) > 1 and key in ("map", "precision", "mean_sharing"):
                cell += f" ({form.format(min(values))} to {form.format(max(values))})"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
