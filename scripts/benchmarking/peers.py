"""hashret and the other exact searches in Python, behind one interface, each on one thread."""

from __future__ import annotations

import numpy as np

from benchmarking.flat import Flat
from benchmarking.peer import Codes, Nearest, Peer, Unavailable, Within, flattened, lims, module
from benchmarking.tables import FaissHash, FaissMultiHash, PynearMIH


class Hashret(Peer):
    """The index that is measured."""

    name = "hashret"

    def __init__(self) -> None:
        """Find the package; compiled kernels answer, as where searches have gone on for a while."""
        from hashret.search import CodeIndex, engine

        engine.use("compiled")
        self.make = CodeIndex.build

    def _build(self, codes: Codes, radius: int) -> None:  # noqa: ARG002 - serves any
        self.index = self.make(codes)
        self.within, self.nearest = self.index.within, self.index.nearest

    @property
    def nbytes(self) -> int:
        """The bytes of all its arrays."""
        if not hasattr(self.index, "nbytes"):
            raise Unavailable("this hashret does not tell its bytes")
        return int(self.index.nbytes)


class PynearBKTree(Peer):
    """pynear's BK-tree, for a radius."""

    name = "pynear BK-tree"
    no_nearest = "finds no nearest"

    def __init__(self) -> None:
        """Find the package."""
        self.index = module("pynear").BKTreeBinaryIndex()

    def _build(self, codes: Codes, radius: int) -> None:  # noqa: ARG002 - serves any
        self.index.set(codes)

    def within(self, queries: Codes, radius: int) -> Within:
        """It returns lists."""
        rows, distances, *_ = self.index.find_threshold(queries, radius)
        return lims(map(len, rows)), flattened(rows), flattened(distances)


class PynearVPTree(Peer):
    """pynear's vantage point tree, for the nearest."""

    name = "pynear VP-tree"
    no_within = "has no search within a radius"

    def __init__(self) -> None:
        """Find the package."""
        self.index = module("pynear").VPTreeBinaryIndex()

    def _build(self, codes: Codes, radius: int) -> None:  # noqa: ARG002 - serves any
        self.index.set(codes)

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """It returns lists, farthest first."""
        rows, distances = self.index.searchKNN(queries, k)
        return np.array(distances)[:, ::-1], np.array(rows)[:, ::-1]


class Usearch(Peer):
    """usearch's exact search, which compares every code; its graph is approximate."""

    name = "usearch exact"
    no_within = "has no search within a radius"

    def __init__(self) -> None:
        """Find the package."""
        self.module = module("usearch.index")

    def _build(self, codes: Codes, radius: int) -> None:  # noqa: ARG002 - serves any
        self.codes = codes.copy()

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """It searches an array as it is."""
        metric, dtype = self.module.MetricKind.Hamming, self.module.ScalarKind.B1
        found = self.module.search(
            self.codes, queries, k, metric, exact=True, threads=1, dtype=dtype
        )
        shape = (len(queries), -1)
        return found.distances.reshape(shape).astype(np.int32), found.keys.reshape(shape)


class SqliteVec(Peer):
    """sqlite-vec in memory: a vec0 table for the nearest, its distance function for a radius."""

    name = "sqlite-vec"

    def __init__(self) -> None:
        """Find the package, and an SQLite that loads extensions."""
        apsw, extension = module("apsw"), module("sqlite_vec")
        self.database = apsw.Connection(":memory:")
        self.database.enable_load_extension(True)
        self.database.load_extension(extension.loadable_path())

    def _build(self, codes: Codes, radius: int) -> None:  # noqa: ARG002 - serves any
        database = self.database
        database.execute(f"create virtual table nearest using vec0(code bit[{codes.shape[1] * 8}])")
        database.execute("create table plain(id integer primary key, code blob)")
        with database:
            for start in range(0, len(codes), 100_000):
                block = codes[start : start + 100_000].view(f"V{codes.shape[1]}").ravel().tolist()
                rows = list(enumerate(block, start))
                sql = "insert into nearest(rowid, code) values (?, vec_bit(?))"
                database.executemany(sql, rows)
                database.executemany("insert into plain values (?, ?)", rows)

    def within(self, queries: Codes, radius: int) -> Within:
        """The function is called for each row of a table without an index."""
        sql = (
            "select id, vec_distance_hamming(vec_bit(code), vec_bit(?)) as distance from plain "
            "where distance <= ?"
        )
        found = [self.database.execute(sql, (q.tobytes(), radius)).fetchall() for q in queries]
        hits = np.array([hit for one in found for hit in one]).reshape(-1, 2)
        return lims(map(len, found)), hits[:, 0].astype(np.int64), hits[:, 1].astype(np.int32)

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """A query of its virtual table."""
        sql = "select distance, rowid from nearest where code match vec_bit(?) and k = ?"
        found = [self.database.execute(sql, (q.tobytes(), k)).fetchall() for q in queries]
        hits = np.array(found)
        return hits[:, :, 0].astype(np.int32), hits[:, :, 1].astype(np.int64)


PEERS: dict[str, type[Peer]] = {
    "flat": Flat,
    "hash": FaissHash,
    "multihash": FaissMultiHash,
    "pynear-mih": PynearMIH,
    "pynear-bktree": PynearBKTree,
    "pynear-vptree": PynearVPTree,
    "usearch": Usearch,
    "sqlite-vec": SqliteVec,
}


def set_threads(n: int) -> None:
    """Let hashret use ``n`` threads."""
    try:
        from hashret.search import set_threads as setter
    except ImportError as error:
        raise Unavailable("this hashret has no set_threads") from error
    setter(n)


def force_plan(plan: str | None) -> None:
    """Make hashret answer all searches in one way; None lets it choose."""
    from hashret.search import planner

    if not hasattr(planner, "force"):
        raise Unavailable("this hashret cannot be forced to a plan")
    planner.force(plan)
