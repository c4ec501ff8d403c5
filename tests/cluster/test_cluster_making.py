"""Making a cluster: what an interrupted run left is cleared away, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest

from hashret.cluster import making
from hashret.cluster.cluster_layout import Layout
from hashret.cluster.making import Learning, make_cluster, open_source_for
from hashret.cluster.published import storage_at
from hashret.encoder import SemanticHasher
from hashret.errors import IndexExistsError, InputError
from hashret.progress import no_progress

LAYOUT = Layout(2, 1, "0123", 16, "vectors", "0.1.0", "2026-01-01T00:00:00+00:00")


@pytest.fixture(params=["path", "url"])
def storage(request, tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "results"
    return storage_at(f"file://{folder}" if request.param == "url" else folder)


@pytest.fixture
def make(storage, tmp_path):
    file = tmp_path / "rows.npy"
    np.save(file, np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32))
    how = Learning(SemanticHasher(16, epochs=1, random_state=0))
    return lambda: make_cluster(storage, open_source_for(storage, None, file), 2, how, no_progress)


def stop(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["learned/notes.txt", "shards-1/00000/items.db", "other/x", "y"])
def test_what_others_put_there_stays(storage, make, tmp_path, name):
    own = tmp_path / "results" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    for _ in range(2):
        with pytest.raises(IndexExistsError, match="holds no cluster"):
            make()
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == [own]
    assert own.read_text() == "mine"


@pytest.mark.parametrize("moment", ["make_shard", "_refuse_made"])
def test_what_an_interrupted_run_left_gives_way(storage, make, tmp_path, moment, monkeypatch):
    calls = []
    called = getattr(making, moment)

    def stop_at_the_end(*arguments):
        calls.append(arguments)
        if moment == "make_shard" or len(calls) == 3:
            raise KeyboardInterrupt
        called(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(making, moment, stop_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            make()
    assert make() == storage.layout()
    names = [path.name for path in (tmp_path / "results").iterdir()]
    assert sorted(names) == ["cluster.json", "learned", "shards-1"]


def test_nothing_is_claimed_by_a_run_that_learned_nothing(make, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise InputError("it cannot be learned from")

    monkeypatch.setattr("hashret.index.creating.learn_index", fail)
    with pytest.raises(InputError):
        make()
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("moment", ["note_unfinished", "learned"])
def test_a_cluster_that_another_run_has_made_meanwhile_stays(
    storage, make, tmp_path, moment, monkeypatch
):
    called = getattr(type(storage), moment)

    def late(self):
        result = called(self)
        Path(tmp_path / "results/shards-1/00007").mkdir(parents=True, exist_ok=True)
        Path(tmp_path / "results/shards-1/00007/x").write_text("of the other run")
        self.write_layout(LAYOUT)
        return result

    monkeypatch.setattr(type(storage), moment, late)
    with pytest.raises(IndexExistsError, match="another run has made"):
        make()
    assert storage.layout() == LAYOUT
    assert (tmp_path / "results/shards-1/00007/x").read_text() == "of the other run"
