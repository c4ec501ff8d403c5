"""Debian's package descriptions as hashret's own text features make rows of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmarking.corpora import DATA, TEXT_QUERIES, TEXT_SEED, Corpus
from benchmarking.descriptions import MIN_SECTION, descriptions
from hashret.features import learn_features

METHODS = ("wordllama", "tfidf", "counts")
CHOICE_SEED = 7
"""What is compared while choosing is asked of items only, drawn by this seed."""


@dataclass(frozen=True)
class Texts:
    """Items and queries with their sections."""

    items: list[str]
    sections: np.ndarray
    queries: list[str]
    query_sections: np.ndarray


def texts(*, choosing: bool = False) -> Texts:
    """The corpus, split; to choose by, the queries are drawn from the items and these left out."""
    documents, sections = _distinct()
    order = np.random.default_rng(TEXT_SEED).permutation(len(documents))
    asked, kept = order[:TEXT_QUERIES], order[TEXT_QUERIES:]
    if choosing:
        kept = np.random.default_rng(CHOICE_SEED).permutation(kept)
        asked, kept = kept[:TEXT_QUERIES], kept[TEXT_QUERIES:]
    return Texts(
        [documents[n] for n in kept],
        sections[kept],
        [documents[n] for n in asked],
        sections[asked],
    )


def _distinct() -> tuple[list[str], np.ndarray]:
    """Texts whose first paragraph no text before them has, in sections of 300 at least."""
    corpus = descriptions(DATA / "descriptions")
    chosen: dict[str, tuple[str, str]] = {}
    for text, section in zip(corpus.texts, corpus.sections.tolist(), strict=True):
        _, _, body = text.partition("\n")
        chosen.setdefault(" ".join(body.split("\n\n")[0].split()), (text, section))
    sizes = Counter(section for _, section in chosen.values())
    rows = [row for row in chosen.values() if sizes[row[1]] >= MIN_SECTION]
    return [text for text, _ in rows], np.array([section for _, section in rows])


def featured(corpus: Texts, method: str) -> tuple[Corpus, Corpus]:
    """Rows as hashret learns from them, and as floats are compared: at length 1.

    Counts are compared by cosine after log(1 + count), which the autoencoder applies itself.
    """
    features = learn_features("text", iter(corpus.items), method)
    items, lost = features.matrix(corpus.items)
    queries, lost_queries = features.matrix(corpus.queries)
    labels = np.delete(corpus.sections, [one.position for one in lost])
    query_labels = np.delete(corpus.query_sections, [one.position for one in lost_queries])
    rows = Corpus(method, items, labels, queries, query_labels)
    if method != "counts":
        return rows, rows
    return rows, Corpus(method, _unit(items), labels, _unit(queries), query_labels)


def _unit(counts: np.ndarray) -> np.ndarray:
    rows = np.log1p(counts)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
