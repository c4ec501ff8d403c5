"""Learn vectors of words from a corpus: TF-IDF, and its leading singular directions."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashret.features.text_words import Corpus, grams_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

POWER_STEPS = 3
SPARE_DIRECTIONS = 16
WORDS_WITH_PARTS = 200_000
"""So many words, the most frequent, are taken apart; a million of long ones would fill gigabytes.
"""
SMALLEST = 1e-8
"""Directions in which texts vary by less than this share of the greatest variance are left out."""


def learn_vectors(
    corpus: Corpus, dimensions: int, *, max_words: int, max_grams: int, gram_weight: float
) -> tuple[list[str], list[str], NDArray[np.float16]]:
    """Find vectors of words and parts of words, whose sums are the reduced TF-IDF of texts.

    The TF-IDF matrix of words and parts is never made: it is the product of the texts by words and
    of the words by terms, both small.

    Args:
        corpus: the texts.
        dimensions: of a vector, at most.
        max_words: that get a vector of their own.
        max_grams: parts of words that get one.
        gram_weight: what a part counts beside a word.

    Returns:
        The words, the parts, and their vectors, words first.
    """
    from scipy.sparse import csr_matrix, diags, hstack

    grams, parts = _parts(corpus)
    part_frequencies = np.minimum(
        (parts.T @ corpus.frequencies.astype(np.float64)).astype(np.int64), corpus.n_texts
    )
    words = corpus.telling(corpus.frequencies, max_words)
    known = corpus.telling(part_frequencies, max_grams)
    rarity = corpus.rarity(corpus.frequencies[words])
    part_rarity = corpus.rarity(part_frequencies[known]) * np.float32(gram_weight)

    own = csr_matrix(
        (rarity, (words, np.arange(len(words)))), shape=(len(corpus.words), len(words))
    )
    terms = hstack([own, parts[:, known] @ diags(part_rarity)], format="csr", dtype=np.float32)
    texts = corpus.counts.copy()
    texts.data = 1 + np.log(texts.data)
    texts = diags(1 / _lengths(texts[:, words] @ diags(rarity))) @ texts
    directions = leading_directions(texts.astype(np.float32), terms, dimensions)

    vectors = np.concatenate(
        [terms[words] @ directions, directions[len(words) :] * part_rarity[:, None]]
    )
    # Scaled so that float16 holds them; a common factor does not count.
    vectors /= max(float(np.abs(vectors).max()), 1e-30)
    return [corpus.words[n] for n in words], [grams[n] for n in known], vectors.astype(np.float16)


def leading_directions(texts: csr_matrix, terms: csr_matrix, count: int) -> NDArray[np.float32]:
    """Right singular vectors of ``texts @ terms``, by subspace iteration from a random start.

    Halko, Martinsson and Tropp (2011), "Finding Structure with Randomness", algorithms 4.4 and 5.1.
    In one thread, for the last bits of dense products depend on how many there are, and a vector
    may come out with the opposite sign for less.

    Args:
        texts: shape ``(n, w)``.
        terms: shape ``(w, t)``.
        count: how many at most.

    Returns:
        Shape ``(t, count)``, by descending singular value; fewer columns where the rank is less.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return _leading_directions(texts, terms, count)


def _leading_directions(texts: csr_matrix, terms: csr_matrix, count: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    rank = min(count + SPARE_DIRECTIONS, texts.shape[0], terms.shape[1])
    basis: NDArray[np.float32] = rng.standard_normal((terms.shape[1], rank), dtype=np.float32)
    texts_back, terms_back = texts.T.tocsr(), terms.T.tocsr()
    for _ in range(POWER_STEPS):
        image = _orthonormal(texts @ (terms @ basis))[0]
        basis = _orthonormal(terms_back @ (texts_back @ image))[0]
    rotation, lengths = _orthonormal(texts @ (terms @ basis))[1:]
    return np.ascontiguousarray((basis @ (rotation * lengths))[:, :count])


def _orthonormal(
    rows: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """An orthonormal basis of what columns span, most important first; its mixture and lengths.

    By the eigenvectors of the columns' products, which is many times faster than a QR
    decomposition of so long a matrix.
    """
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = max(int((values > values[0] * SMALLEST).sum()), 1)
    lengths = np.sqrt(np.maximum(values[:kept], 1e-30))
    mixture = (vectors[:, :kept] / lengths).astype(np.float32)
    return rows @ mixture, mixture, lengths.astype(np.float32)


def _parts(corpus: Corpus) -> tuple[list[str], csr_matrix]:
    """The distinct parts of frequent words, and how often each is in each word, ``(words, parts)``.

    Rows of the other words are empty.
    """
    from scipy.sparse import csr_matrix

    frequent = np.zeros(len(corpus.words), bool)
    frequent[np.argsort(-corpus.frequencies, kind="stable")[:WORDS_WITH_PARTS]] = True
    numbers: dict[str, int] = {}
    columns, starts = array("i"), array("q", [0])
    for word, is_frequent in zip(corpus.words, frequent.tolist(), strict=True):
        if is_frequent:
            columns.extend(numbers.setdefault(gram, len(numbers)) for gram in grams_of(word))
        starts.append(len(columns))
    matrix = csr_matrix(
        (np.ones(len(columns), np.float32), np.asarray(columns), np.asarray(starts)),
        shape=(len(corpus.words), len(numbers)),
    )
    matrix.sum_duplicates()
    return list(numbers), matrix


def _lengths(rows: csr_matrix) -> NDArray[np.float32]:
    """Euclidean lengths; 1 for a row of zeros."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return np.where(lengths > 0, lengths, 1).astype(np.float32)
