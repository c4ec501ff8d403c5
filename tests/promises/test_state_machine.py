"""Any sequence of changes and questions, against a dictionary and comparing everything."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from faults import memory
from faults.oracle import KEYS, N_BITS, Oracle, fields, item, vector
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import hashret
from hashret.codes import hamming

EXAMPLES = int(os.environ.get("HASHRET_EXAMPLES", "12"))
USED = KEYS[:40]
CONDITIONS = {
    None: lambda key, about: True,
    "label = 2": lambda key, about: about["label"] == 2,
    "version > 1": lambda key, about: about["version"] > 1,
    "key < 'k020' and label > 2": lambda key, about: key < "k020" and about["label"] > 2,
    "note = 'it''s'": lambda key, about: about.get("note") == "it's",
}

keys = st.sampled_from(USED)
versions = st.integers(0, 3)
changes = st.dictionaries(keys, versions, min_size=1, max_size=25)
which = st.integers(0, 1)


class Indexes(RuleBasedStateMachine):
    """Two open indexes on one folder, and what they must hold: fields by key, in order of rows."""

    oracle: Oracle
    template: Path

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hashret-", dir=memory()))
        self.path = shutil.copytree(self.template, self.folder / "index")
        self.opened = [hashret.open(self.path), hashret.open(self.path)]
        self.held = {}

    def teardown(self):
        for index in self.opened:
            index.close()
        shutil.rmtree(self.folder)

    @initialize(first=changes)
    def begin(self, first):
        self.add(first, 0)

    # Changes

    @rule(change=changes, by=which)
    def add(self, change, by):
        report = self.opened[by].add([item(*one) for one in change.items()])
        known = {key: about["version"] for key, about in self.held.items()}
        assert report.added == len(change.keys() - known.keys())
        same = {
            key
            for key, version in change.items()
            if known.get(key) == version and "note" not in self.held[key]
        }
        assert (report.unchanged, report.updated) == (
            len(same),
            len(change) - report.added - len(same),
        )
        for key, version in change.items():
            if known.get(key) != version:
                self.held.pop(key, None)  # another value is a new row
            self.held[key] = fields(key, version)

    @rule(key=keys, by=which)
    def change_fields(self, key, by):
        if key not in self.held:
            return
        about = {**self.held[key], "note": "it's"}
        self.opened[by].add([(key, vector(key, about["version"]), about)])
        self.held[key] = about

    @rule(some=st.sets(keys, min_size=1, max_size=10), by=which)
    def remove(self, some, by):
        missing = some - self.held.keys()
        if missing:
            with pytest.raises(hashret.KeyNotFoundError):
                self.opened[by].remove(sorted(some))
        elif some:
            assert self.opened[by].remove(sorted(some)) == len(some)
            for key in some:
                del self.held[key]

    @rule(by=which)
    def compact(self, by):
        self.opened[by].compact()

    @rule(by=which)
    def reopen(self, by):
        self.opened[by].close()
        self.opened[by] = hashret.open(self.path)

    # Questions

    def expected(self, code, radius, limit, where):
        """Keys and distances, by distance, then row, by comparing everything."""
        allowed = [key for key in self.held if CONDITIONS[where](key, self.held[key])]
        distances = {key: int(hamming(self.code_of(key)[None], code)[0]) for key in allowed}
        found = sorted(allowed, key=lambda key: distances[key])  # stable: then by row
        if radius is not None:
            found = [key for key in found if distances[key] <= radius]
        return [(key, distances[key]) for key in found[:limit]]

    def code_of(self, key):
        return self.oracle.codes[key, self.held[key]["version"]]

    @rule(
        near=st.tuples(keys, versions),
        flips=st.integers(0, 2**N_BITS - 1),
        radius=st.none() | st.integers(0, N_BITS),
        limit=st.none() | st.integers(1, 50),
        where=st.sampled_from(list(CONDITIONS)),
        of=which,
    )
    def query_code(self, near, flips, radius, limit, where, of):
        if radius is None and limit is None:
            return
        code = self.oracle.codes[near] ^ np.frombuffer(flips.to_bytes(4, "big"), dtype=np.uint8)
        found = self.opened[of].query_code(code, radius, limit, where)
        assert [(h.key, h.distance) for h in found] == self.expected(code, radius, limit, where)
        assert all(hit.fields == self.held[hit.key] for hit in found)

    @rule(key=keys, radius=st.integers(0, 12), of=which)
    def query_key(self, key, radius, of):
        if key not in self.held:
            with pytest.raises(hashret.KeyNotFoundError):
                self.opened[of].query_key(key, radius)
            return
        found = self.opened[of].query_key(key, radius, None)
        assert [(h.key, h.distance) for h in found] == self.expected(
            self.code_of(key), radius, None, None
        )

    @rule(where=st.sampled_from(list(CONDITIONS)), limit=st.none() | st.integers(1, 50), of=which)
    def items(self, where, limit, of):
        found = [(one.key, one.fields) for one in self.opened[of].items(limit, where)]
        expected = [(k, about) for k, about in self.held.items() if CONDITIONS[where](k, about)]
        assert found == expected[:limit]

    @rule(key=keys, of=which)
    def look_up(self, key, of):
        assert (key in self.opened[of]) == (key in self.held)
        if key in self.held:
            assert self.opened[of][key].fields == self.held[key]
            assert np.array_equal(self.opened[of][key].code, self.code_of(key))

    @rule(of=which)
    def verify(self, of):
        report = self.opened[of].verify()
        assert report.ok, report.problems
        assert report.items == len(self.held)

    @invariant()
    def both_show_the_newest_state(self):
        for index in self.opened:
            assert len(index) == len(self.held)
        assert list(self.opened[0]) == list(self.held)


def test_any_sequence_of_changes_and_questions(prepared_encoder, tmp_path, monkeypatch):
    def refuse(message, *about):
        raise AssertionError(f"of an index that is whole: {message % about}")

    # The search would answer rightly without its segments too, and say so.
    monkeypatch.setattr(logging.getLogger("hashret"), "warning", refuse)
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 12)
    oracle = Indexes.oracle = Oracle(prepared_encoder)
    Indexes.template = tmp_path / "template"
    with oracle.create(Indexes.template, {KEYS[0]: 0}) as index:
        index.add([(KEYS[0], vector(KEYS[0], 0), {"note": ""})])  # a field that conditions name
        index.remove(KEYS[0])
    run_state_machine_as_test(
        Indexes,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
