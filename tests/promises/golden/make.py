"""Make a small index and what it answers, with the hashret that is on the path.

A golden index is made once, by the oldest commit that wrote its format, and never again:

    PYTHONPATH=CHECKOUT_OF_THAT_COMMIT python \
        tests/promises/golden/make.py tests/promises/golden/format-1
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

import hashret
import hashret.encoder.hasher as hasher_module

N_BITS = 16
KEEPS_VECTORS = {"format-1": False, "format-2": True}


def main(folder: Path) -> None:
    """Make the index ``folder``/index and ``folder``/answers.json."""
    keeps = {"keep_vectors": True} if KEEPS_VECTORS[folder.name] else {}
    # As few weights as there can be, for an index of a few kilobytes.
    small = partial(hasher_module.SemanticHasher, hidden=(4,))
    sys.modules["hashret.encoder"].SemanticHasher = small
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(6, 8)) * 3
    points = (centres[rng.integers(6, size=66)] + rng.normal(size=(66, 8))).astype(np.float32)
    items = [
        (f"item {i}", point, {"label": f"group {i % 3}", "price": i / 4, "ä 日": None})
        for i, point in enumerate(points)
    ]
    folder.mkdir(parents=True)
    index = hashret.create(folder / "index", items[:60], N_BITS, epochs=30, random_state=0, **keeps)
    index.compact()
    index.add(items[60:])  # a tail beside the segment
    index.add([("item 5", points[65], {"label": "changed"})])
    index.remove(["item 8", "item 61"])
    # Rounding differs between machines: what is asked decides no bit by a hair.
    queries = [points[i].round(2).astype(np.float32) for i in range(0, 66, 13)]
    answers = {
        "queries": [query.tolist() for query in queries],
        "codes": [code.tobytes().hex() for code in index.encode(queries)],
        "hits": [_hits(index.query(query, limit=12)) for query in queries],
        "where": _hits(index.query_key("item 3", radius=N_BITS, limit=None, where="price < 4")),
        "items": [
            {"key": item.key, "code": item.code.tobytes().hex(), "fields": dict(item.fields)}
            for item in index.items()
        ],
    }
    index.close()
    (folder / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


def _hits(result) -> list[list[object]]:
    return [[hit.key, hit.distance] for hit in result]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
