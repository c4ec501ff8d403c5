"""Vectors as features."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hashret.encoder.baselines import RandomHyperplanes
from hashret.errors import DamagedIndexError, InputError
from hashret.features import Failure, VectorFeatures, features_from_json, learn_features

V3 = VectorFeatures(3)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["u1", "i8", "f2", "f4", "f8", "?", ">f4"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
    )
)
def test_each_value_is_either_a_row_or_a_failure(rows):
    features = learn_features("vectors", rows)
    matrix, failures = features.matrix(list(rows))
    with np.errstate(over="ignore"):
        expected = rows.astype(np.float32)
    good = (np.abs(expected) <= 1e15).all(axis=1)
    assert (matrix.dtype, matrix.flags.c_contiguous) == (np.float32, True)
    assert matrix.shape == (good.sum(), rows.shape[1])
    np.testing.assert_array_equal(matrix, expected[good])
    assert [failure.position for failure in failures] == list(np.flatnonzero(~good))
    for row in matrix:
        np.testing.assert_array_equal(features.vector(row), row)


def test_what_is_not_finite_is_named():
    values = [[1, 2, np.nan], [1, 2, 3], [np.inf, 0, 0], [1e300, 0, 0], [-np.inf, 1e300, 0]]
    matrix, failures = V3.matrix(values)
    assert matrix.tolist() == [[1, 2, 3]]
    assert failures == [
        Failure(0, "holds NaN or infinity"),
        Failure(2, "holds NaN or infinity"),
        Failure(3, "holds a value of more than 1e+15 in size; rescale the data"),
        Failure(4, "holds NaN or infinity"),
    ]
    with pytest.raises(InputError, match="NaN"):
        V3.vector(values[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_an_encoder_would_refuse_is_named(dtype):
    rows = np.ones((4, 3), dtype)
    rows[1], rows[2, 1], rows[3] = 1e38, -1.001e15, 1e15
    matrix, failures = V3.matrix(list(rows))
    assert [failure.position for failure in failures] == [1, 2]
    assert all("more than 1e+15 in size" in failure.reason for failure in failures)
    encoder = RandomHyperplanes(n_bits=8).fit(matrix)
    assert len(encoder.transform(matrix)) == 2
    with pytest.raises(InputError, match=r"at most 1e\+15"):
        encoder.fit(rows[:2])
    # At length one, there is no such limit.
    matrix, failures = VectorFeatures(3, "cosine").matrix(list(rows))
    assert (len(matrix), failures) == (4, [])


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        np.zeros(4),
        np.zeros((1, 3)),
        np.zeros((3, 1)),
        np.float32(3),
        [],
        ["a", "b", "c"],
        [1, [2], 3],
        np.zeros(3, complex),
        np.array([None, 1, 2]),
        "abc",
        b"abc",
        None,
        {"a": 1},
    ],
    ids=repr,
)
def test_what_is_no_vector_of_this_length_is_refused(value):
    for use in (
        V3.vector,
        lambda value: V3.matrix([[1, 2, 3], value]),
        lambda value: VectorFeatures.learn([[1, 2, 3], value]),
    ):
        with pytest.raises(InputError, match="Expected a vector"):
            use(value)


def test_both_lengths_are_named():
    with pytest.raises(InputError, match=r"\(3,\).*\(4,\)"):
        V3.vector(np.zeros(4))


def test_nothing_to_learn_from():
    with pytest.raises(InputError, match="at least one"):
        VectorFeatures.learn([])


def test_an_empty_batch():
    matrix, failures = V3.matrix([])
    assert (matrix.shape, matrix.dtype, failures) == ((0, 3), np.float32, [])


def test_the_matrix_is_a_copy():
    row = np.ones(3, np.float32)
    matrix, _ = V3.matrix([row])
    matrix[0, 0] = 5
    assert row[0] == 1


def test_description():
    assert VectorFeatures(1536).describe() == "vectors of 1,536 values"


COSINE = VectorFeatures(3, "cosine")


@settings(max_examples=60, deadline=None)
@given(hnp.arrays("f4", st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(width=32)))
def test_by_the_cosine_rows_have_length_one_in_whatever_batch(rows):
    matrix, failures = COSINE.matrix(list(rows))
    good = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    assert [failure.position for failure in failures] == list(np.flatnonzero(~good))
    np.testing.assert_allclose(np.linalg.norm(matrix.astype(float), axis=1), 1, rtol=1e-6)
    for row, kept in zip(rows[good], matrix, strict=True):
        np.testing.assert_array_equal(COSINE.vector(row), kept)


def test_a_vector_of_zeros_has_no_cosine_and_is_named():
    matrix, failures = COSINE.matrix([[0, 0, 0], [0, 3, 4]])
    np.testing.assert_allclose(matrix, [[0, 0.6, 0.8]])
    assert failures == [
        Failure(0, "holds zeros only, which has no direction to compare by the cosine")
    ]


def test_the_metric_is_kept_and_older_settings_are_still_read():
    assert features_from_json(COSINE.to_json()) == COSINE
    old = {"kind": "vectors", "format": 1, "n_features": 3}
    assert features_from_json(old) == V3
    assert V3.to_json() == old
    assert COSINE.to_json()["format"] == 2
    with pytest.raises(DamagedIndexError, match="metric"):
        features_from_json({**COSINE.to_json(), "metric": "angular"})
