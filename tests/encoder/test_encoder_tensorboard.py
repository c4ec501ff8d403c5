"""TensorBoard's event files: every term of the loss, and items beside what is drawn of them."""

import numpy as np
import pytest

from hashret.encoder import SemanticHasher
from hashret.errors import HashretError


def events(folder):
    """Every value in the event files of a folder: ``{tag: {step: tensor}}``, and its plugin."""
    import tensorflow as tf

    values, plugins = {}, {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                values.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
                plugins[value.tag] = value.metadata.plugin_data.plugin_name
    return values, plugins


def fitted(folder, X, **changes):
    return SemanticHasher(
        8, hidden=(8,), epochs=2, batch_size=16, random_state=0, tensorboard=folder, **changes
    ).fit(X)


def test_terms_and_images_are_there_to_be_seen(tmp_path, digits):
    import tensorflow as tf

    X = digits[:400].reshape(400, 64)
    learned = fitted(tmp_path, X, image_shape=(8, 8), bottleneck="variational", sparsity=0.1)
    names = {"loss", "reconstruction", "neighbours", "sparsity", "kl"}
    training, plugins = events(tmp_path / "training")
    validation, _ = events(tmp_path / "validation")
    tags = {f"{group}/{name}" for group in ("batch", "epoch") for name in names}
    assert set(training) == {*tags, "reconstructions"}
    assert set(validation) == {f"epoch/{name}" for name in names}
    assert {plugins[tag] for tag in tags} == {"scalars"}
    assert plugins["reconstructions"] == "images"
    for record in learned.history_:
        for name in names:
            value = float(training[f"epoch/{name}"][record["epoch"]])
            assert value == pytest.approx(record[name], rel=1e-5)
        value = float(validation["epoch/loss"][record["epoch"]])
        assert value == pytest.approx(record["validation_loss"], rel=1e-5)
    assert list(training["batch/loss"]) == [10, 20, 30, 40]
    width, height, picture = training["reconstructions"][2].tolist()
    assert (width, height) == (b"96", b"16")
    drawn = tf.io.decode_png(picture).numpy()
    assert drawn.shape == (16, 96, 1)
    shown = {one.tobytes() for one in np.rint(X / 255 * 255).astype(np.uint8).reshape(-1, 8, 8)}
    assert all(drawn[:8, 8 * k : 8 * k + 8, 0].tobytes() in shown for k in range(12))


def test_rows_that_are_no_images_have_no_pictures(tmp_path, vectors):
    fitted(tmp_path, vectors)
    assert "reconstructions" not in events(tmp_path / "training")[0]


def test_the_folder_is_no_part_of_what_is_saved(tmp_path, vectors):
    fitted(tmp_path / "board", vectors).save(tmp_path / "saved")
    assert SemanticHasher.load(tmp_path / "saved").tensorboard is None
    assert "board" not in (tmp_path / "saved" / "encoder.json").read_text().replace(
        '"tensorboard"', ""
    )


def test_a_folder_that_cannot_be_is_named(tmp_path, vectors):
    (tmp_path / "file").write_text("")
    with pytest.raises(HashretError, match="file"):
        fitted(tmp_path / "file", vectors)
