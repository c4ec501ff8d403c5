"""What tests of the search compare with: brute force, codes of many kinds, and every way to go."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from hashret.codes import hamming
from hashret.search import engine, machine, planner, set_threads, threads
from hashret.search.layout import Layout
from hashret.search.machine import Costs

WAYS = [
    "numpy tables",
    "numpy scan",
    "numpy faiss",
    "numpy mixed",
    "compiled tables",
    "compiled scan",
    "compiled mixed",
    "chosen",
]
"""Engine and plan; "mixed" leaves some queries to tables, some to a scan, some to both."""
KINDS = ["uniform", "clustered", "two", "equal", "constant bits", "few ones"]


def brute_force(codes, query, radius=None, limit=None, rows=None, allowed=None):
    """Rows and distances by comparing everything, ordered by distance, then row."""
    rows = np.arange(len(codes)) if rows is None else np.asarray(rows, dtype=np.int64)
    distances = hamming(codes, query)
    order = np.lexsort((rows, distances))
    if radius is not None:
        order = order[distances[order] <= radius]
    if allowed is not None:
        order = order[[row < len(allowed) and bool(allowed[row]) for row in rows[order]]]
    order = order[:limit]
    return rows[order].tolist(), distances[order].tolist()


def answer(found):
    return found.rows.tolist(), found.distances.tolist()


def answers(many):
    return [answer(found) for found in many]


def split(lims, rows, distances):
    """What ``within`` returns, as a list of answers."""
    assert (lims.dtype, rows.dtype, distances.dtype) == (np.int64, np.int64, np.int32)
    assert lims[0] == 0
    assert lims[-1] == len(rows) == len(distances)
    spans = [slice(lims[i], lims[i + 1]) for i in range(len(lims) - 1)]
    return [(rows[own].tolist(), distances[own].tolist()) for own in spans]


def make_codes(kind, n, n_bits, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
    if not n:
        return codes
    if kind == "clustered":
        codes = codes[rng.integers(0, max(1, n // 30), n)]
        codes ^= np.packbits(rng.random((n, n_bits)) < 0.05, axis=1)
    elif kind == "two":
        codes = codes[rng.integers(0, min(2, n), n)]
    elif kind == "equal":
        codes[:] = codes[0]
    elif kind == "constant bits":
        varies = np.packbits(rng.random(n_bits) < 0.3)
        codes = codes & varies | codes[0] & ~varies
    elif kind == "few ones":
        codes = np.packbits(rng.random((n, n_bits)) < 1.5 / n_bits, axis=1)
    return codes


def make_queries(codes, n, seed=1):
    """Codes that are there, codes a few bits away from one, and random ones, in turn."""
    rng = np.random.default_rng(seed)
    n_bits = 8 * codes.shape[1]
    queries = rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
    if len(codes):
        there = codes[rng.integers(len(codes), size=n)]
        near = there ^ np.packbits(rng.random((n, n_bits)) < 2.5 / n_bits, axis=1)
        queries[0::3], queries[1::3] = there[0::3], near[1::3]
    return queries


def make_layout(order, widths):
    """A layout with bits in an order and parts of these widths, for each word."""
    content = {"n_bits": len(order), "bit_order": [*order], "part_widths": widths}
    return Layout.from_json(content)


def costs(probe=1e-8, code=1e-9, word=1e-8):
    """Costs that are the same however much there is: of a bucket, a code in it, a scanned word."""
    return Costs(
        footprints=(1e6,),
        per_probe=(probe,),
        n_words=(1,),
        per_near=((code,),),
        per_far=((code,),),
        per_query=1e-9,
        per_call=1e-9,
        scan_footprints=(1e6,),
        per_scanned_word=(word,),
        per_batched_word=word,
    )


@contextmanager
def going(way, word_seconds=2e-8):
    """Go one of ``WAYS``; the mixed ones by what scanning a word is said to cost."""
    if way == "chosen":
        yield
        return
    name, plan = way.split()
    with pytest.MonkeyPatch.context() as patch:
        if plan == "mixed":
            figures = costs(word=word_seconds)
            patch.setattr(machine, "costs", lambda: figures)
            patch.setattr(planner, "SHELL_SECONDS", 2e-7)
            patch.setattr(planner, "PROBE_SECONDS", 1e-8)
            patch.setattr(planner, "CANDIDATE_SECONDS", 1e-9)
            patch.setattr(
                planner,
                "scan_seconds",
                lambda n, _n_words, n_queries=1: word_seconds * n * n_queries,
            )
        if name == "numpy" and plan != "mixed":
            patch.setattr(planner, "scans_with_faiss", lambda *_: plan == "faiss")
        engine.use(name)
        planner.force({"mixed": None, "faiss": "scan"}.get(plan, plan))
        try:
            yield
        finally:
            engine.use(None)
            planner.force(None)


@contextmanager
def sharing(queries=3, words=64, cores=3):
    """Let compiled searches use several threads for so few queries and words of codes."""
    from hashret.search import compiled, prepared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "SHARE", queries)
        patch.setattr(prepared, "SHARE_WORDS", words)
        for module in (compiled, prepared, threads):
            patch.setattr(module, "n_cores", lambda: cores)
        yield


@contextmanager
def on_one_thread():
    set_threads(1)
    try:
        yield
    finally:
        set_threads(None)


THREADS = {"one": on_one_thread, "several": sharing, "as they come": nullcontext}


def clustered(n, n_bits, seed=0, centres=5, flip=0.05):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (centres, n_bits), dtype=np.uint8)[rng.integers(centres, size=n)]
    return np.packbits(bits ^ (rng.random((n, n_bits)) < flip), axis=1)


def uniform(n, n_bits, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)
