"""What else is claimed of the codes: a function a goal, each returning Markdown and its figures."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarking.corpora import CORPORA, Corpus
from benchmarking.quality import Run, hashret, markdown, measure, methods, row
from hashret.encoder import FloatAutoencoder, SemanticHasher
from hashret.evaluation import ITQ, NearestVectors, neighbour_histograms, recall_at

Answer = tuple[str, Any]

QUERY_BLOCK = 500


def retrieval(name: str, bits: list[int], seeds: int) -> Answer:
    """Every method on one corpus."""
    table = methods(CORPORA[name](), bits, seeds)
    return markdown(table), table


def effort(bits: list[int], seeds: int) -> Answer:
    """The default beside ``effort="high"``, on Fashion-MNIST."""
    return _variants("fashion", bits, seeds, {"normal": {}, "high": {"effort": "high"}})


def augment(bits: list[int], seeds: int) -> Answer:
    """With and without ``augment``, on clothes and on digits."""
    variants = {"": {}, "augmented": {"augment": True}}
    answers = [_variants(name, bits, seeds, variants) for name in ("fashion", "digits")]
    texts, tables = zip(*answers, strict=True)
    return "\n\n".join(texts), [row for table in tables for row in table]


def bottlenecks(bits: list[int], seeds: int) -> Answer:
    """What ``bottleneck="auto"`` has to choose between, on three corpora."""
    tables = []
    for name in ("fashion", "text", "embeddings"):
        choices = {kind: {"bottleneck": kind} for kind in ("straight-through", "bernoulli")}
        tables += _variants(name, bits, seeds, choices)[1]
    return markdown(tables), tables


def _variants(
    name: str, bits: list[int], seeds: int, variants: dict[str, dict[str, Any]]
) -> Answer:
    corpus = CORPORA[name]()
    table = [
        row(
            f"{corpus.name}, {variant}" if variant else corpus.name,
            n_bits,
            [measure(hashret(corpus, n_bits, s, **how), corpus)[0] for s in range(seeds)],
        )
        for n_bits in bits
        for variant, how in variants.items()
    ]
    return markdown(table), table


def reconstruction(*_: object) -> Answer:
    """Errors of reconstructions on the test images, beside principal components."""
    corpus = CORPORA["fashion"]()
    rows: list[Run] = []

    def add(what: str, numbers: str, reconstructed: np.ndarray, seconds: float) -> None:
        error = float(np.mean((reconstructed - corpus.queries) ** 2))
        rows.append({"what": what, "numbers": numbers, "mse": error, "seconds": seconds})

    def bits(what: str, n_bits: int, **how: Any) -> None:
        start = time.perf_counter()
        hasher = hashret(corpus, n_bits, 0, **how).fit(corpus.items)
        seconds = time.perf_counter() - start
        drawn = hasher.reconstruct(hasher.transform(corpus.queries))
        add(what, f"{n_bits} bits", drawn, seconds)

    bits("hashret, the default", 32)
    bits("hashret, neighbour_weight=0", 32, neighbour_weight=0)
    bits("hashret, neighbour_weight=0, effort high", 32, neighbour_weight=0, effort="high")
    for n in (16, 30, 32):
        add("PCA", f"{n} floats", _components(corpus, n), 0.0)
    start = time.perf_counter()
    deep = FloatAutoencoder(30, hidden=(1000, 500, 250), random_state=0).fit(corpus.items)
    seconds = time.perf_counter() - start
    drawn = deep.inverse_transform(deep.transform(corpus.queries))
    add("784-1000-500-250-30 autoencoder", "30 floats", drawn, seconds)
    text = "| reconstructed from | a code | MSE on [0, 1] | fit |\n|---|---:|---:|---:|\n"
    text += "\n".join(
        f"| {one['what']} | {one['numbers']} | {one['mse']:.4f} | "
        + (f"{one['seconds']:.0f} s |" if one["seconds"] else " |")
        for one in rows
    )
    return text, rows


def _components(corpus: Corpus, n: int, X: np.ndarray | None = None) -> np.ndarray:
    from sklearn.decomposition import PCA

    components = PCA(n, random_state=0).fit(corpus.items if X is None else X)
    return components.inverse_transform(components.transform(corpus.queries))


def outliers(*_: object) -> Answer:
    """Each class, kept from learning, told by its reconstruction error among the test images."""
    from sklearn.metrics import roc_auc_score

    corpus = CORPORA["fashion"]()
    rows = []
    for left_out in range(10):
        kept = corpus.items[corpus.labels != left_out]
        is_new = corpus.query_labels == left_out
        hasher = hashret(corpus, 64, 0).fit(kept)
        scores = {"hashret, 64 bits": hasher.reconstruction_error(corpus.queries)}
        for n in (2, 64):
            drawn = _components(corpus, n, kept)
            scores[f"PCA, {n} floats"] = ((drawn - corpus.queries) ** 2).mean(axis=1)
        rows.append(
            {"class": left_out, **{k: float(roc_auc_score(is_new, s)) for k, s in scores.items()}}
        )
    names = [name for name in rows[0] if name != "class"]
    text = "| class kept out | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names) + "\n"
    text += "\n".join(
        f"| {one['class']} | " + " | ".join(f"{one[name]:.3f}" for name in names) + " |"
        for one in rows
    )
    return text, rows


def certainty(bits: list[int], seeds: int) -> Answer:
    """Ties in the order of rows, in expectation, and by the query's certainty."""
    rows = []
    for name in ("fashion", "text"):
        corpus = CORPORA[name]()
        for n_bits in bits:
            for seed in range(seeds):
                run, hasher = measure(hashret(corpus, n_bits, seed), corpus)
                ordered = _by_certainty(hasher, corpus)
                rows.append(
                    {"corpus": corpus.name, "bits": n_bits, "seed": seed, "ties": run["map"],
                     "certainty": ordered, "gain": ordered - run["map"]}
                )  # fmt: skip
    text = "| corpus | bits | mAP@1000, ties in expectation | by certainty | gain |\n"
    text += "|---|---:|---:|---:|---:|\n"
    groups = dict.fromkeys((one["corpus"], one["bits"]) for one in rows)
    for corpus_name, n_bits in groups:
        same = [one for one in rows if (one["corpus"], one["bits"]) == (corpus_name, n_bits)]
        ties, ordered, gain = (
            float(np.mean([one[key] for one in same])) for key in ("ties", "certainty", "gain")
        )
        text += f"| {corpus_name} | {n_bits} | {ties:.3f} | {ordered:.3f} | {gain:+.3f} |\n"
    return text.rstrip(), rows


def _by_certainty(hasher: SemanticHasher, corpus: Corpus, k: int = 1000) -> float:
    signs = np.unpackbits(hasher.transform(corpus.items), axis=1).astype(np.float32) * 2 - 1
    latent = hasher.transform_latent(corpus.queries)
    average = 0.0
    for start in range(0, len(latent), QUERY_BLOCK):
        logits = latent[start : start + QUERY_BLOCK]
        size = np.abs(logits).sum(axis=1, keepdims=True)
        # Half of (all bits - agreeing + differing) counts the flips, weighted or not.
        flips = (signs.shape[1] - np.where(logits > 0, 1, -1).astype(np.float32) @ signs.T) / 2
        doubt = (size - logits @ signs.T) / (2 * size + 1)
        rank = np.round(flips) + doubt
        first = np.argpartition(rank, k, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(rank, first, axis=1), axis=1, kind="stable")
        nearest = np.take_along_axis(first, order, axis=1)
        labels = corpus.query_labels[start : start + QUERY_BLOCK, None]
        hit = corpus.labels[nearest] == labels
        precisions = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
        possible = np.minimum((corpus.labels[None] == labels).sum(axis=1), k)
        average += float(((precisions * hit).sum(axis=1) / np.maximum(possible, 1)).sum())
    return average / len(latent)


def rerank(bits: list[int], seeds: int) -> Answer:
    """The share of the 10 true float neighbours in a Hamming shortlist, which floats re-order."""
    corpus = CORPORA["embeddings"]()
    nearest = NearestVectors(corpus.queries, 10)
    nearest.add(np.arange(len(corpus.items)), corpus.items)
    methods = {
        "hashret": lambda n_bits, seed: hashret(corpus, n_bits, seed),
        "hashret, neighbour_weight=0": lambda n_bits, seed: hashret(
            corpus, n_bits, seed, neighbour_weight=0
        ),
        "ITQ": lambda n_bits, seed: ITQ(n_bits, random_state=seed),
    }
    rows = []
    for n_bits in bits:
        for name, method in methods.items():
            for seed in range(seeds):
                hasher = method(n_bits, seed).fit(corpus.items)
                histograms = neighbour_histograms(
                    hasher.transform(corpus.queries), hasher.transform(corpus.items), nearest.rows
                )
                kept = {k: float(recall_at(histograms, k).mean()) for k in (10, 100, 1000)}
                rows.append({"method": name, "bits": n_bits, "seed": seed, "kept": kept})
    text = "| codes | bits | 10-NN by Hamming | shortlist of 100, re-ranked | of 1,000 |\n"
    text += "|---|---:|---:|---:|---:|\n"
    for one in rows:
        shares = " | ".join(f"{share:.1%}" for share in one["kept"].values())
        text += f"| {one['method']} | {one['bits']} | {shares} |\n"
    return text.rstrip(), rows
