"""A reader sees one committed state, and is not kept waiting by whoever writes."""

import os
import threading

import numpy as np
import pytest
from faults.oracle import KEYS, N_BITS, Oracle, items, state_of

import hashret

SECONDS = 60
BEFORE = state_of(KEYS[:30])
MORE = state_of(KEYS[30:60], 1)


@pytest.fixture
def index(prepared_encoder, tmp_path):
    oracle = Oracle(prepared_encoder)
    with oracle.create(tmp_path / "index", BEFORE) as index:
        yield index


def asked(index):
    """All it holds, asked in every way."""
    hits = index.query_code(np.zeros(N_BITS // 8, dtype=np.uint8), N_BITS, None)
    keys = {hit.key for hit in hits}
    assert keys == {item.key for item in index.items()} == set(index)
    assert len(index) == len(keys)
    assert all(key in index and index[key].key == key for key in list(keys)[:3])
    assert index.query_key(KEYS[0], radius=0)[0].key == KEYS[0]
    assert index.verify().ok
    return keys


def in_a_thread(work):
    """What some work returns, or a failure if it waits for whoever has started it."""
    came = []
    thread = threading.Thread(target=lambda: came.append(work()), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert came, "the reader waits for the writer, or failed"
    return came[0]


@pytest.mark.parametrize("opened", ["the same", "another"])
def test_a_thread_reads_in_the_middle_of_an_add(index, opened):
    reader = index if opened == "the same" else hashret.open(index.path)
    seen = []

    def progress(state):
        if state.stage == "storing":
            seen.append(in_a_thread(lambda: asked(reader)))

    index.add(items(MORE), progress=progress)
    assert seen
    assert all(keys == set(BEFORE) for keys in seen)
    assert in_a_thread(lambda: asked(reader)) == {*BEFORE, *MORE}
    if reader is not index:
        reader.close()


def test_a_thread_reads_in_the_middle_of_compact(index):
    seen = []

    def progress(_):
        if not seen:
            seen.append(in_a_thread(lambda: asked(index)))

    index.remove(KEYS[5:9])
    index.compact(progress=progress)
    assert seen == [set(BEFORE) - set(KEYS[5:9])]


def test_a_second_writer_is_told_who_writes(index):
    refused = []

    def progress(state):
        with hashret.open(index.path) as other:
            for change in (lambda: other.add(items(MORE)), lambda: other.remove(KEYS[0])):
                with pytest.raises(hashret.IndexLockedError, match=str(os.getpid())) as error:
                    change()
                refused.append((state.stage, error))

    assert index.add(items(MORE), progress=progress).added == len(MORE)
    assert tuple(stage for stage, _ in refused[:2]) == ("storing", "storing")
