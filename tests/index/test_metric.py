import numpy as np
import pytest
from click.testing import CliRunner

import hashret
from hashret.cli import cli
from hashret.errors import InputError, UsageError

ROWS = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)


def test_by_the_cosine_length_means_nothing_to_items_and_queries(tmp_path):
    lengths = np.random.default_rng(1).uniform(0.01, 100, (300, 1)).astype(np.float32)
    given = ROWS * lengths
    given[5] = 0
    np.save(tmp_path / "a.npy", given)
    index = hashret.create(
        tmp_path / "i", tmp_path / "a.npy", n_bits=16, epochs=1, random_state=0, metric="cosine"
    )
    assert len(index) == 299
    report = index.add(tmp_path / "a.npy")
    assert (report.unchanged, [one.name for one in report.skipped]) == (
        299,
        [f"{tmp_path}/a.npy#5"],
    )
    index.close()
    index = hashret.open(tmp_path / "i")
    assert index.encoder.describe() == "vectors of 8 values, scaled to length one"
    for row in (0, 7, 299):
        assert np.array_equal(index.encoder.encode([given[row]])[0], index[str(row)].code)
    scaled = index.encoder.rows([given[7] * 64])
    np.testing.assert_allclose(scaled, index.encoder.rows([given[7]]), rtol=1e-6)
    with pytest.raises(InputError, match="zeros only"):
        index.query(np.zeros(8))


def test_the_metric_is_for_vectors_and_one_of_two(tmp_path):
    pictures = np.zeros((9, 4, 4), np.uint8)
    with pytest.raises(UsageError, match="is for vectors"):
        hashret.create(tmp_path / "i", pictures, metric="cosine")
    with pytest.raises(UsageError, match="metric must be one of l2, cosine"):
        hashret.create(tmp_path / "i", ROWS, metric="angle")
    assert not (tmp_path / "i").exists()


def test_an_index_keeps_the_metric_it_has(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    hashret.create(tmp_path / "i", ROWS, n_bits=16, epochs=1, random_state=0).close()
    arguments = ["index", str(tmp_path / "a.npy"), "-i", str(tmp_path / "i"), "--metric"]
    refused = CliRunner().invoke(cli, [*arguments, "cosine"])
    assert isinstance(refused.exception, UsageError)
    assert "was made with --metric l2" in str(refused.exception)
    assert CliRunner().invoke(cli, [*arguments, "l2"]).exit_code == 0
