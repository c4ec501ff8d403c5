"""Items on their way into a cluster: all of them, once, whatever dies meanwhile."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from cluster_fixtures import nodes
from PIL import Image

import hashret
from hashret.cluster.cluster_changes import remove_from_cluster
from hashret.cluster.cluster_layout import shard_of
from hashret.cluster.making import create_cluster
from hashret.cluster.published import storage_at
from hashret.errors import HashretError, InputError, KeyNotFoundError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning")

LEARN = {"n_bits": 16, "epochs": 1, "random_state": 0}


@pytest.fixture(scope="module", autouse=True)
def ray_nodes():
    with nodes(1) as cluster:
        yield cluster


def shards_of(path):
    storage = storage_at(path)
    return [hashret.open(storage.reading(folder)) for folder in storage.layout().folders()]


def held(indexes):
    """Everything that is known of every item, by key; each key once."""
    found = {}
    for number, index in enumerate(indexes):
        assert index.verify().ok
        for item in index.items(None):
            assert item.key not in found
            if len(indexes) > 1:
                assert shard_of(item.key, len(indexes)) == number
            found[item.key] = (item.code.tobytes(), item.fields, item.location)
    return found


def made_as_one(tmp_path, source, **options):
    """What one index over the same items holds."""
    return held([hashret.create(tmp_path / "one", source, **{**LEARN, **options})])


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.npy"
    rng = np.random.default_rng(0)
    np.save(path, rng.normal(size=(3000, 8)).astype(np.float32))
    np.save(tmp_path / "rows_labels.npy", rng.integers(5, size=3000))
    return path


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr("hashret.cluster.pipeline.items_at_a_time", lambda *_, **__: 1500)


def test_shards_hold_together_what_one_index_holds(tmp_path, rows, monkeypatch, small_steps):
    monkeypatch.setattr("hashret.cluster.parts.RANGE_ITEMS", 1000)
    told = []
    report = create_cluster(tmp_path / "c", rows, 3, **LEARN, progress=told.append)
    assert (report.added, report.updated, report.unchanged) == (3000, 0, 0)
    assert held(shards_of(tmp_path / "c")) == made_as_one(tmp_path, rows)
    assert {index.encoder.fingerprint for index in shards_of(tmp_path / "c")} == {
        hashret.open(tmp_path / "one").encoder.fingerprint
    }
    stored = [state.done for state in told if state.stage == "storing"]
    assert len(stored) >= 2
    assert stored == sorted(stored)
    assert stored[-1] == 3000


def test_given_again_nothing_changes(path, rows):
    create_cluster(path, rows, 2)
    commits = [index._store.commit for index in shards_of(path)]
    report = create_cluster(path, rows, 2)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 3000)
    assert [index._store.commit for index in shards_of(path)] == commits


def test_texts_with_fields_are_updated_and_removed(tmp_path):
    table = tmp_path / "texts.jsonl"
    lines = [{"id": f"t{n}", "text": f"word{n % 50} and word{n % 7}", "n": n} for n in range(400)]

    def write():
        table.write_text("".join(json.dumps(line) + "\n" for line in lines))

    write()
    create_cluster(tmp_path / "c", table, 2, features="tfidf", **LEARN)
    lines[3]["text"] = "word1 and word6 word6"
    lines[5]["n"] = -5
    lines[6]["rare"] = True
    lines.append({"id": "new", "text": "word1", "n": 0})
    write()
    report = create_cluster(tmp_path / "c", table, 2)
    assert (report.added, report.updated, report.unchanged) == (1, 3, 397)
    indexes = shards_of(tmp_path / "c")
    assert indexes[0].field_names == indexes[1].field_names == ["n", "rare"]
    one = hashret.create(tmp_path / "one", table, features="tfidf", **LEARN)
    items = held(indexes)
    assert {key: item[1:] for key, item in items.items()} == {
        item.key: (item.fields, item.location) for item in one.items(None)
    }
    code = indexes[shard_of("t3", 2)].encoder.encode(["word1 and word6 word6"])[0]
    assert items["t3"][0] == code.tobytes()
    storage = storage_at(tmp_path / "c")
    with pytest.raises(KeyNotFoundError, match="no item with the key 'nothing'"):
        remove_from_cluster(storage, ["t1", "nothing"])
    assert remove_from_cluster(storage, ["t1", "t2", "t1"]) == (2, 399)
    assert held(shards_of(tmp_path / "c")).keys() == items.keys() - {"t1", "t2"}


def test_fields_that_differ_only_in_case_are_refused_before_any_shard_stores_them(tmp_path):
    keys = (next(f"{n}" for n in range(99) if shard_of(f"{n}", 2) == shard) for shard in (1, 0))
    one, other = keys
    texts = [(f"t{n}", f"word{n % 50} and word{n % 7}") for n in range(200)]
    path = tmp_path / "c"
    create_cluster(path, texts, 2, kind="text", features="tfidf", **LEARN)
    create_cluster(path, [(one, "word1", {"Label": 1})], 2, kind="text")
    for _ in range(2):
        with pytest.raises(InputError, match="'label' differs from the field 'Label' only in case"):
            create_cluster(path, [(other, "word2", {"label": 1})], 2, kind="text")
    both = [("a", "word3", {"Name": 1}), ("b", "word3", {"name": 1})]
    with pytest.raises(InputError, match="differs from the field"):
        create_cluster(path, both, 2, kind="text")
    assert remove_from_cluster(storage_at(path), ["t1"]) == (1, 200)
    assert [index.field_names for index in shards_of(path)] == [["Label"], ["Label"]]


def test_broken_images_are_named_and_the_others_stored(tmp_path, image_folder):
    folder = tmp_path / "photos"
    for path in sorted(image_folder.rglob("*.png"))[:40]:
        home = folder / path.parent.name
        home.mkdir(parents=True, exist_ok=True)
        (home / path.name).write_bytes(path.read_bytes())
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    report = create_cluster(tmp_path / "c", folder, 2, **LEARN)
    assert report.added == 40
    assert [one.name for one in report.skipped] == [str(broken)]
    assert held(shards_of(tmp_path / "c")) == made_as_one(tmp_path, folder)


def test_python_data_goes_through_in_slabs(tmp_path, digits, monkeypatch):
    monkeypatch.setattr("hashret.cluster.pipeline.SLAB_BLOCKS", 1)
    monkeypatch.setattr("hashret.cluster.pipeline.items_at_a_time", lambda *_, **__: 40)
    pairs = [(f"d{n}", Image.fromarray(digits[n]), {"n": n}) for n in range(100)]
    report = create_cluster(tmp_path / "c", pairs, 2, keep_vectors=True, **LEARN)
    assert report.added == 100
    assert held(shards_of(tmp_path / "c")) == made_as_one(tmp_path, pairs)
    one = hashret.create(tmp_path / "two", pairs, keep_vectors=True, **LEARN)
    rows = {item.key: item.row for item in one.items(None)}
    for index in shards_of(tmp_path / "c"):
        for item in index.items(None):
            kept = index._store.vectors_of([item.row])
            assert np.array_equal(kept, one._store.vectors_of([rows[item.key]]))


def test_the_key_of_another_file_is_refused_with_one_message(tmp_path, path, rows):
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(1).normal(size=(10, 8)).astype(np.float32))
    create_cluster(path, rows, 2)
    with pytest.raises(InputError, match=r"Key '\d' of .*other.npy already belongs to a different"):
        create_cluster(path, other, 2)
    assert create_cluster(path, other, 2, replace=True).updated == 10


def in_background(condition, act):
    """Do something once, as soon as a condition holds."""

    def waiting():
        while not condition():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=waiting)
    thread.start()
    return thread


def some_are_stored(path):
    """Whether a shard has an item, asked without opening it as an index, which takes longer."""

    def condition():
        for database in path.glob("shards-1/*/items.db"):
            with (
                suppress(sqlite3.OperationalError),
                closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
            ):
                if connection.execute("select 1 from items limit 1").fetchone():
                    return True
        return False

    return condition


@pytest.fixture
def many(tmp_path):
    path = tmp_path / "many.npy"
    np.save(path, np.random.default_rng(0).normal(size=(30_000, 8)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    home = tmp_path_factory.mktemp("learned")
    few = np.random.default_rng(0).normal(size=(200, 8))
    create_cluster(home / "c", few, 2, **LEARN)
    remove_from_cluster(storage_at(home / "c"), map(str, range(200)))
    return home / "c"


@pytest.fixture
def path(tmp_path, learned):
    """Of an empty cluster of two shards that has learned."""
    return Path(shutil.copytree(learned, tmp_path / "c"))


def is_whole(path, file):
    """Whether a cluster holds all rows of a file, each once, with its code."""
    codes = hashret.open(path / "learned").encoder.encode(list(np.load(file)))
    return held(shards_of(path)) == {
        str(row): (code.tobytes(), {}, f"{file}#{row}") for row, code in enumerate(codes)
    }


def writer_of(path, shard):
    import ray

    storage = storage_at(path)
    name = f"writer of {storage.layout().folder(shard)} of {storage.root}"
    return ray.get_actor(name, namespace="hashret")


def test_a_writer_that_is_killed_goes_on(path, many, small_steps):
    import ray

    killed = []

    def kill():
        killed.append(ray.kill(writer_of(path, 1), no_restart=False))

    thread = in_background(some_are_stored(path), kill)
    report = create_cluster(path, many, 2)
    thread.join()
    assert killed
    assert report.added + report.unchanged == 30_000
    assert is_whole(path, many)


def test_a_writer_that_dies_again_and_again_is_given_up_and_named(path, monkeypatch):
    import ray

    from hashret.cluster import writing
    from hashret.cluster.failures import asked

    monkeypatch.setattr(writing, "MOST_RESTARTS", 1)
    writers = writing.start_writers(str(path), storage_at(path).layout().folders())
    try:
        for _ in range(2):
            pid = ray.get(writers[1].__ray_call__.remote(lambda _: os.getpid()))
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(HashretError, match=f"The writer of shards-1/00001 of {path} died, and"):
            asked([writers[1].count.remote()])
        assert asked([writers[0].count.remote()]) == [0]
    finally:
        writing.stop_writers(writers)


def test_a_node_that_dies_takes_nothing_with_it(path, many, small_steps, ray_nodes):
    dying = ray_nodes.more[0]
    thread = in_background(
        some_are_stored(path), lambda: ray_nodes.remove_node(dying, allow_graceful=False)
    )
    report = create_cluster(path, many, 2)
    thread.join()
    ray_nodes.more[0] = ray_nodes.add_node(num_cpus=1, object_store_memory=100 << 20)
    assert report.added + report.unchanged == 30_000
    assert is_whole(path, many)


def test_what_was_killed_is_gone_on_with(tmp_path, path, ray_nodes):
    rows = tmp_path / "most.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(100_000, 8)).astype(np.float32))
    command = [sys.executable, "-m", "hashret", "cluster", "index", rows, "-i", path]
    command += ["--address", ray_nodes.address]
    driver = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    try:
        while not some_are_stored(path)():
            assert driver.poll() is None
            time.sleep(0.02)
    finally:
        driver.kill()
        driver.wait()
    report = create_cluster(path, rows, 2)
    assert 0 < report.unchanged < 100_000
    assert report.added == 100_000 - report.unchanged
    assert is_whole(path, rows)


def test_a_source_that_a_node_cannot_read_is_told_in_one_message(path, rows, ray_nodes):
    """By the command, of a source that changes between its first look and the nodes'."""
    script = """if True:
        import os, sys
        from hashret.cluster import pipeline
        whole = pipeline.run_pipeline
        def after_it_is_gone(*arguments):
            os.remove(sys.argv[3])
            return whole(*arguments)
        pipeline.run_pipeline = after_it_is_gone
        from hashret.cli import main
        main()
        """
    command = [sys.executable, "-c", script, "cluster", "index", rows, "-i", path]
    command += ["--address", ray_nodes.address]
    failed = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert failed.returncode == 1
    assert f"No such file or folder: {rows}" in failed.stderr
    assert "Traceback" not in failed.stderr + failed.stdout


def test_another_number_of_shards_names_reshard(path, rows):
    with pytest.raises(UsageError, match="has 2 shards, not 3.*reshard"):
        create_cluster(path, rows, 3)


def test_what_is_stored_is_not_encoded_again(path, rows, monkeypatch):
    """Asked of the task that encodes, with writers that are no actors."""
    from hashret.cluster import pipeline, writing
    from hashret.cluster.parts import open_parts

    class Method:
        def __init__(self, called):
            self.remote = called

    class Handle:
        def __init__(self, writer):
            self.compare, self.store = Method(writer.compare), Method(writer.store)
            self.note_fields = Method(writer.note_fields)

    storage = storage_at(path)
    layout = storage.layout()
    writers = [writing.ShardWriter(str(path), folder) for folder in layout.folders()]
    encoded = []
    encode = pipeline._encoded
    monkeypatch.setattr("hashret.cluster.failures.asked", list)
    monkeypatch.setattr(
        pipeline,
        "_encoded",
        lambda block, places, to: encoded.append(len(places)) or encode(block, places, to),
    )
    source = open_parts(rows, earlier={})
    to = pipeline.Delivery(
        str(path), layout, source.parts, tuple(map(Handle, writers)), most_items=1000
    )
    for block in pipeline._driver_blocks(source, 1000):
        pipeline.encode_and_deliver(block, to, "run")
    for block in pipeline._driver_blocks(source, 2000):
        pipeline.encode_and_deliver(block, to, "run")
    assert encoded == [1000, 1000, 1000, 0, 0]
    for writer in writers:
        writer._open.close()  # as their processes do by their ends


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run ``hashret cluster`` in this process, which is part of Ray."""
    from click.testing import CliRunner

    from hashret.cli import cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(cli, ["cluster", *map(str, arguments)])

    return run


def test_commands_tell_what_they_did(command, path, tmp_path):
    table = tmp_path / "t.jsonl"
    np.save(tmp_path / "x.npy", np.ones((3, 8), dtype=np.float32))
    done = command("index", tmp_path / "x.npy", "-i", path)
    assert done.exit_code == 0
    assert "3 added, 0 updated, 0 unchanged, 0 skipped: 3 items in" in done.stderr
    assert "1 removed: 2 items left" in command("remove", "1", "-i", path).stderr
    assert "3 shards in" in command("reshard", "--shards", 3, "-i", path).stderr
    again = command("index", tmp_path / "x.npy", "-i", path, "--strict")
    assert again.exit_code == 0
    assert "1 added, 0 updated, 2 unchanged" in again.stderr
    lines = [{"id": f"a{n}", "v": [n, *[1] * 7]} for n in range(5)]
    lines[3]["v"][2] = "no number"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    strict = command("index", table, "-i", path, "--strict")
    assert strict.exit_code == 3
    assert f"Skipped {table}#3: " in strict.stderr
    assert "4 added, 0 updated, 0 unchanged, 1 skipped" in strict.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.npy"], "Name the cluster with -i"),
        (["-i", "c"], "Name a SOURCE"),
        (["x.npy", "-i", "./new"], "Say with --shards"),
        (["x.npy", "-i", "c", "--bits", "32"], "has learned its codes of 16 bits already"),
        (["x.npy", "-i", "c", "--shards", "5"], "has 2 shards, not 5"),
        (["x.npy", "-i", "c", "--address", "ray://h:1"], "a machine that is part of Ray"),
        (["nothing.npy", "-i", "c"], "No such file or folder: nothing.npy"),
        (["x.npy", "-i", "./new", "--shards", "2", "--address", "127.0.0.1:9"], "There is no Ray"),
        (["x.npy", "-i", "./plain", "--shards", "2"], "is an index, to which `hashret index` adds"),
    ],
)
def test_mistakes_are_told_in_one_message(command, path, arguments, message):
    np.save("x.npy", np.ones((3, 8), dtype=np.float32))
    Path("plain").mkdir()
    Path("plain/items.db").touch()
    arguments = [str(path) if argument == "c" else argument for argument in arguments]
    failed = command("index", *arguments)
    assert isinstance(failed.exception, hashret.HashretError)
    assert message in str(failed.exception)
    assert not Path("new").exists()  # refused before anything was learned


def test_an_index_and_a_cluster_are_not_taken_for_each_other(path, rows, tmp_path):
    with pytest.raises(hashret.IndexExistsError, match="is a cluster, to which"):
        hashret.create(path, rows)
    with pytest.raises(hashret.IndexNotFoundError, match="is a cluster, whose shards"):
        hashret.open(path)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "items.db").touch()
    with pytest.raises(hashret.IndexNotFoundError, match="is an index, not a cluster"):
        hashret.open_cluster(tmp_path / "plain")


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (["1", "\udcff"], KeyNotFoundError, r"'\\udcff', which is no Unicode text; nothing was"),
        ("17", UsageError, "Several keys are expected, .* got '17'"),
        ([17], UsageError, "A key is text, got 17 of type int"),
        (17, UsageError, "Several keys"),
    ],
)
def test_what_can_be_no_key_is_not_removed(learned, keys, error, message):
    with pytest.raises(error, match=message):
        remove_from_cluster(storage_at(learned), keys)


def test_what_a_cluster_has_learned_cannot_be_chosen_any_more(path, rows):
    for given, message in [
        ({"n_bits": 32}, "learned its codes of 16 bits already: leave out n_bits=32"),
        ({"hasher": hashret.SemanticHasher(32)}, "of 16 bits already: leave out n_bits=32"),
        ({"metric": "cosine"}, "made with metric='l2': leave out metric='cosine'"),
        ({"features": "tfidf"}, "made of vectors: leave out features='tfidf'"),
        ({"keep_vectors": True}, "without keep_vectors: leave out keep_vectors=True"),
    ]:
        with pytest.raises(UsageError, match=message):
            create_cluster(path, rows, 2, **given)
    same = {"hasher": hashret.SemanticHasher(16), "metric": "l2"}
    assert create_cluster(path, rows, 2, **same).added == 3000


def test_a_folder_of_something_else_is_left_alone(tmp_path, rows):
    with pytest.raises(hashret.IndexExistsError, match="holds no cluster"):
        create_cluster(tmp_path, rows, 2)
    assert rows.exists()
