"""``hashret index``: the options that say how a new index learns."""

import json

import numpy as np
import pytest

import hashret
from hashret.encoder import SemanticHasher, baselines
from hashret.errors import UsageError


@pytest.fixture
def points(tmp_path, vectors):
    np.save(tmp_path / "x.npy", vectors[:200])
    return "x.npy"


def parameters_of(folder):
    return json.loads((folder / "encoder" / "encoder.json").read_text())["parameters"]


def test_every_option_reaches_the_hasher(run, idx_files, tmp_path):
    done = run(
        "index", idx_files / "train-images-idx3-ubyte", "-i", "d", "--bits", 16, "--seed", 3,
        "--epochs", 1, "--architecture", "convolutional", "--hidden", "4,8", "--activation", "gelu",
        "--bottleneck", "bernoulli", "--corrupt", "downsample", "--corruption-level", 2,
        "--augment", "--sparsity", 0.1, "--loss", "squared", "--optimizer", "nadam",
        "--learning-rate", 0.002, "--reconstruction-weight", 3, "--neighbour-weight", 0.1,
        "--effort", "high", "--tensorboard", "board",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = parameters_of(tmp_path / "indexes" / "d")
    expected = {
        "n_bits": 16, "random_state": 3, "epochs": 1, "architecture": "convolutional",
        "hidden": [4, 8], "activation": "gelu", "bottleneck": "bernoulli",
        "corruption": "downsample", "corruption_level": 2.0, "augment": True, "sparsity": 0.1,
        "reconstruction_loss": "squared", "optimizer": "nadam", "learning_rate": 0.002,
        "reconstruction_weight": 3.0, "neighbour_weight": 0.1, "effort": "high",
        "image_shape": [8, 8, 1], "tensorboard": None,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert "Learning: pass 1 of 1, loss" in done.stderr
    assert ", bernoulli bits, " in done.stderr
    assert list((tmp_path / "board" / "training").iterdir())
    (info,) = json.loads(run("info", "-i", "d", "--json").stdout)
    assert info["learned_from"]["recipe"] == "hashret"
    assert info["learned_from"]["bottleneck"] == "bernoulli"
    told = {"architecture": "convolutional", "hidden": [4, 8], "corruption": "downsample"}
    assert {name: info["learned_from"][name] for name in told} == told
    assert "walk_length" not in info["learned_from"]  # it was left at its default


def test_pretraining_and_no_hidden_layer(run, points, tmp_path):
    done = run("index", points, "-i", "p", "--bits", 8, "--epochs", 1, "--hidden", "none",
               "--pretrain", "rbm")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = parameters_of(tmp_path / "indexes" / "p")
    assert (found["hidden"], found["pretraining"]) == ([], "rbm")


@pytest.mark.parametrize("recipe", ["lsh", "pca", "itq", "spectral"])
def test_a_classical_recipe_makes_an_index(run, points, tmp_path, recipe):
    done = run("index", points, "-i", recipe, "--bits", 8, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    with hashret.open(tmp_path / "indexes" / recipe) as index:
        assert index.query_key("7", limit=1)[0].distance == 0
        assert index.info()["learned_from"]["recipe"] == recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "itq", "--hidden", "8"], "leave out --epochs, --hidden"),
        (["--hidden", "many"], "512,256"),
        (["--hidden", "0"], "hidden"),
        (["--architecture", "convolutional"], "image_shape"),
        (["--architecture", "round"], "convolutional"),
        (["--corruption-level", "2"], "corruption"),
        (["--pretrain", "rbm", "--activation", "relu"], "activation"),
        (["--bits", "12"], "multiple of 8"),
    ],
    ids=str,
)
def test_senseless_options_are_refused_and_leave_nothing(run, points, tmp_path, options, message):
    done = run("index", points, "-i", "n", "--epochs", 1, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "indexes" / "n").exists()


def test_an_index_that_exists_learns_nothing_and_says_so(run, make_index, tmp_path):
    make_index("vectors")
    np.save(tmp_path / "y.npy", np.zeros((1, 12), np.float32))
    done = run("index", "y.npy", "-i", "vectors", "--key-prefix", "y", "--hidden", 8, "--augment")
    assert done.returncode == 0, done.stderr
    assert "has learned already: --hidden and --augment change nothing" in done.stderr
    assert "--bits" in run("index", "y.npy", "-i", "vectors", "--bits", 64).stderr


def test_it_is_told_what_is_being_learned(tmp_path, vectors):
    told = []
    hasher = SemanticHasher(8, hidden=(8,), epochs=1, pretraining="rbm", neighbour_weight=0)
    hashret.create(tmp_path / "a", vectors, hasher=hasher, progress=told.append).close()
    notes = [progress.note for progress in told if progress.stage == "learning"]
    assert notes[0] == ""  # no neighbours are sought
    assert any(note.startswith("layer 1 of 2, loss ") for note in notes)
    assert notes[-1].startswith("pass 1 of 1, loss ")
    assert notes[-1].endswith(", straight-through bits")


def test_create_takes_a_hasher_and_leaves_it_as_it_was(tmp_path, vectors):
    hasher = SemanticHasher(16, hidden=(8,), epochs=1, random_state=5, bottleneck="annealed")
    with hashret.create(tmp_path / "a", vectors, hasher=hasher) as index:
        assert index.n_bits == 16
        learned_from = index.info()["learned_from"]
        assert learned_from["seed"] == 5
        assert learned_from["epochs"] == 1
        assert learned_from["bottleneck"] == "annealed"
        np.testing.assert_array_equal(index.encode(vectors), hasher.fit_transform(vectors))
    with hashret.create(tmp_path / "b", vectors, hasher=baselines.ITQ(8, random_state=0)) as index:
        assert index.info()["learned_from"]["recipe"] == "itq"


def test_images_tell_the_hasher_their_shape_unless_it_knows(tmp_path, digits):
    for name, shape in (("a", None), ("b", (4, 16))):
        hasher = SemanticHasher(8, hidden=(8,), epochs=1, augment=True, image_shape=shape)
        hashret.create(tmp_path / name, digits[:50], hasher=hasher).close()
        expected = [8, 8, 1] if shape is None else [4, 16]
        assert parameters_of(tmp_path / name)["image_shape"] == expected
        assert hasher.image_shape == shape


@pytest.mark.parametrize("beside", [{"n_bits": 32}, {"epochs": 2}, {"random_state": 0}], ids=str)
def test_create_refuses_what_a_hasher_has_of_its_own(tmp_path, vectors, beside):
    with pytest.raises(UsageError, match=next(iter(beside))):
        hashret.create(tmp_path / "n", vectors, hasher=SemanticHasher(16), **beside)


@pytest.mark.parametrize(
    ("hasher", "message"),
    [
        (SemanticHasher(12), "multiple of 8"),
        (SemanticHasher(8, optimizer="magic"), "optimizer"),
        (SemanticHasher(8, random_state=-1), "random_state"),
        ("itq", "SemanticHasher"),
        (object(), "SemanticHasher"),
    ],
)
def test_create_refuses_a_hasher_before_it_reads(tmp_path, vectors, hasher, message):
    told = []
    with pytest.raises(UsageError, match=message):
        hashret.create(tmp_path / "n", vectors, hasher=hasher, progress=told.append)
    assert told == []
    assert not (tmp_path / "n").exists()
