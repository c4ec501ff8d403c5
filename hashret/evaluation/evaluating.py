"""Score an index: its own items or others as queries, labels or float neighbours as truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import code_statistics
from hashret.errors import InputError, UsageError
from hashret.evaluation.float_vectors import NearestVectors
from hashret.evaluation.histograms import Histograms, code_histograms, neighbour_histograms
from hashret.evaluation.metrics import average_precision, precision_at, radius_curve, recall_at
from hashret.evaluation.questions import (
    DEFAULT_LABEL,
    Database,
    Questions,
    feature_blocks,
    own_questions,
    questions_of,
    read_database,
)
from hashret.evaluation.reconstruction import ReconstructionScores, reconstruction_scores
from hashret.evaluation.report import EvaluationReport
from hashret.evaluation.search_cost import search_costs
from hashret.index.encoding import TRAINING_BYTES
from hashret.index.index import Index
from hashret.index.item_features import ItemFeatures
from hashret.progress import ProgressCallback, no_progress
from hashret.sources import SkippedInputs, Source, open_source

SAMPLE = 1000
"""Of its own items, so many are asked."""

MAX_QUERIES = 10_000
"""Of a source of queries, at most so many are asked unless told otherwise."""

PLACES = (1, 10, 100, 1000)
SHORTLISTS = (10, 100, 1000)
NEAREST = 10
TRUE_NEIGHBOURS = 100
"""Without labels, so many nearest by float distance are relevant."""

MAX_TRAINING_ROWS = 10_000
BIT_ROWS = 1_000_000


@dataclass
class _Floats:
    """What the features of the items tell.

    Attributes:
        nearest: positions in the database of the nearest by float distance, ``(m, k)``.
        asked: which queries have features: positions, ``(m,)``.
        readable: which items of the database could be read: a mask, ``(n,)``.
        training_rows: features of items, as the encoder learned from them, ``(t, d)``.
        unread: items that could not be read again.
    """

    nearest: NDArray[np.int64]
    asked: NDArray[np.int64]
    readable: NDArray[np.bool_]
    training_rows: NDArray[np.float32]
    unread: SkippedInputs


def evaluate(
    index: Index,
    queries: Any = None,
    *,
    label: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> EvaluationReport:
    """Measure how well an index answers.

    An item is relevant to a query when it has its label; without labels, when it is among the 100
    nearest by Euclidean distance of the features, which are read again from where the items came
    from. Features also give the recall of float neighbours and the errors of reconstruction; where
    they cannot be read, these are left out and ``notes`` say why.

    Args:
        index: the index; it is not changed.
        queries: a source, as for :meth:`hashret.Index.add`. None asks a random sample of the
            index's own items, each leaving itself out.
        label: the field that holds the labels; by default ``label``, where there is one.
        sample: the most queries; by default 1,000 of its own items, 10,000 of a source.
        seed: of what is drawn.
        progress: called often with a :class:`~hashret.progress.Progress`.

    Raises:
        UsageError: no item has the field ``label``, or ``sample`` is below 1.
        InputError: there are neither labels nor features to tell what is relevant.
    """
    if not isinstance(index, Index):
        raise UsageError(f"evaluate takes an open index (hashret.open), got {index!r}.")
    if sample is not None and (not isinstance(sample, int) or sample < 1):
        raise UsageError(f"sample must be a whole number of at least 1, not {sample!r}.")
    source = None
    if queries is not None:
        source = queries if isinstance(queries, Source) else open_source(queries, index.kind)
    with index.reader.state():
        database = read_database(index, label, progress)
        if source is None:
            asked = own_questions(index, database, sample or SAMPLE, seed, progress)
        else:
            most = sample or MAX_QUERIES
            asked = questions_of(index, database, source, label, most, seed, progress)
        notes: list[str] = []
        floats = None
        try:
            floats = _read_floats(index, database, asked, seed, progress)
        except InputError as error:
            if database.labels is None:
                raise InputError(
                    f"There is nothing to judge {index.path} by: its items have no labels (name a "
                    f"field with --label, label= in Python), and {_lower(str(error))}"
                ) from error
            notes.append(f"Neighbours by features and reconstruction are left out: {error}")
    if floats is not None and not floats.readable.all():
        notes.append(
            f"{np.count_nonzero(~floats.readable):,} of {len(database.rows):,} items could not be "
            "read again; neighbours by features are those among the others. The first is "
            f"{floats.unread[0].name}: {floats.unread[0].reason}."
        )
    return _report(index, database, asked, floats, label, notes)


def _report(
    index: Index,
    database: Database,
    asked: Questions,
    floats: _Floats | None,
    label: str | None,
    notes: list[str],
) -> EvaluationReport:
    float_precision = recall = None
    if floats is not None:
        recall = _float_histograms(database, asked, floats, NEAREST)
    if database.labels is not None and asked.labels is not None:
        truth = f"equal {label or DEFAULT_LABEL}"
        histograms = code_histograms(
            asked.codes, database.codes, asked.labels, database.labels, asked.own_places
        )
        if floats is not None:
            float_precision = _float_precision(database.labels, asked.labels, floats)
    else:
        if floats is None:
            raise InputError("There is nothing to judge by.")
        truth = f"the {floats.nearest.shape[1]} nearest by float distance of the features"
        histograms = _float_histograms(database, asked, floats, floats.nearest.shape[1])
    statistics = code_statistics(database.codes, bit_rows=BIT_ROWS)
    return EvaluationReport(
        index=str(index.path),
        items=len(database.rows),
        n_bits=index.n_bits,
        queries=len(histograms.items),
        asked=asked.description,
        truth=truth,
        map_all=float(average_precision(histograms, None).mean()),
        map_1000=float(average_precision(histograms, 1000).mean()),
        precision={
            k: float(precision_at(histograms, k).mean()) for k in PLACES if k < len(database.rows)
        },
        float_precision=float_precision,
        radius=radius_curve(histograms),
        neighbour_recall=None
        if recall is None
        else {k: float(recall_at(recall, k).mean()) for k in SHORTLISTS},
        reconstruction=None if floats is None else _reconstruction(index, asked, floats),
        codes=statistics,
        search=search_costs(database.codes, asked.codes),
        notes=notes,
    )


def _read_floats(
    index: Index, database: Database, asked: Questions, seed: int, progress: ProgressCallback
) -> _Floats:
    features = asked.features
    reading = ItemFeatures(index.reader.store, index.encoder.features)
    if features is None:
        # Says why nothing can be read.
        features = np.empty((0, index.encoder.features.n_features), dtype=np.float32)
        for _ in feature_blocks(index, database, reading, progress):
            raise InputError("none of the items that were drawn as queries can be read again.")
    known = np.flatnonzero(~np.isnan(features).any(axis=1))
    nearest = NearestVectors(
        features[known], min(TRUE_NEIGHBOURS, len(database.rows) - 1), asked.own_places[known]
    )
    readable = np.zeros(len(database.rows), dtype=bool)
    # Of all items, queries among them: from these the encoder has learned, too.
    rng = np.random.default_rng(seed)
    most = min(MAX_TRAINING_ROWS, TRAINING_BYTES // (4 * features.shape[1]), len(readable))
    chosen = np.zeros(len(readable), dtype=bool)
    chosen[rng.choice(len(readable), max(most, 1), replace=False)] = True
    training = []
    for places, matrix in feature_blocks(index, database, reading, progress):
        nearest.add(places, matrix)
        readable[places] = True
        training.append(matrix[chosen[places]])
    return _Floats(nearest.rows, known, readable, np.concatenate(training), reading.unread)


def _float_histograms(database: Database, asked: Questions, floats: _Floats, k: int) -> Histograms:
    """Items by Hamming distance among those with features; the ``k`` nearest are relevant."""
    place = np.cumsum(floats.readable) - 1  # among the readable ones
    own = asked.own_places[floats.asked]
    nearest = floats.nearest[:, :k]
    return neighbour_histograms(
        asked.codes[floats.asked],
        database.codes[floats.readable],
        np.where(nearest >= 0, place[nearest], -1),
        np.where((own >= 0) & floats.readable[own], place[own], -1),
    )


def _float_precision(
    labels: NDArray[np.int64], query_labels: NDArray[np.int64], floats: _Floats
) -> dict[int, float]:
    same = labels[floats.nearest] == query_labels[floats.asked, None]
    same &= floats.nearest >= 0
    return {k: float(same[:, :k].mean()) for k in PLACES if k <= same.shape[1]}


def _reconstruction(index: Index, asked: Questions, floats: _Floats) -> ReconstructionScores | None:
    if asked.features is None or not len(floats.training_rows):
        return None
    return reconstruction_scores(
        asked.features[floats.asked],
        index.reconstruct(asked.codes[floats.asked]),
        floats.training_rows,
        index.n_bits,
    )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
