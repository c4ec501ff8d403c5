"""What an index tells of its codes: the same as counting, also from a sample."""

import numpy as np
import pytest

import hashret
from hashret.codes import unpack
from hashret.index import info


def stored_codes(index):
    return np.array([item.code for item in index.items()])


def test_info_tells_how_the_codes_use_their_bits(digits_index):
    info, codes = digits_index.info(), stored_codes(digits_index)
    shares = unpack(codes).mean(axis=0)
    entropies = -(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares))
    correlation = np.abs(np.corrcoef(unpack(codes).T)[np.triu_indices(64, 1)])
    sharing = [(codes == code).all(axis=1).sum() - 1 for code in codes]
    assert info["bit_entropy"] == pytest.approx(entropies.mean(), abs=1e-4)
    assert info["lowest_bit_entropy"] == pytest.approx(entropies.min(), abs=1e-4)
    assert info["bit_correlation"] == pytest.approx(correlation.mean(), abs=1e-4)
    assert info["largest_bit_correlation"] == pytest.approx(correlation.max(), abs=1e-4)
    assert info["mean_sharing"] == pytest.approx(np.mean(sharing), abs=1e-4)
    assert info["largest_bucket"] == max(sharing) + 1
    assert info["distinct_codes"] == len(np.unique(codes, axis=0))
    assert "code_sample" not in info


def test_many_items_are_described_by_a_sample_that_is_named(make_index, vectors, monkeypatch):
    with hashret.open(make_index("vectors")) as index:
        index.add([(f"again {i}", row) for i, row in enumerate(vectors)])
        index.remove([str(i) for i in range(100, 140)])
        whole = index.info()
        monkeypatch.setattr(info, "SAMPLE", 600)
        monkeypatch.setattr(info, "SAMPLE_BLOCKS", 30)
        some = index.info()
    assert some["items"] == whole["items"] == 1160
    assert 500 < some["code_sample"] <= 600
    assert some["mean_sharing"] == pytest.approx(whole["mean_sharing"], rel=0.25)
    assert some["bit_entropy"] == pytest.approx(whole["bit_entropy"], abs=0.05)


def test_an_empty_index_has_no_statistics(make_index):
    with hashret.open(make_index("photos")) as index:
        index.remove(list(index))
        info = index.info()
    assert (info["items"], info["distinct_codes"], info["largest_bucket"]) == (0, 0, 0)
