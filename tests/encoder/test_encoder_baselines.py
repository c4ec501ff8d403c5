"""The classical hashing methods: what they promise, and that they serve as the hasher does."""

import numpy as np
import pytest

import hashret
from hashret.codes import unpack
from hashret.encoder import CodeEstimator, SemanticHasher, open_encoder, open_hasher
from hashret.encoder.baselines import ITQ, PCAHash, RandomHyperplanes, SpectralHashing
from hashret.errors import InputError, NotFittedError, UsageError

LINEAR = [ITQ, PCAHash, RandomHyperplanes]
EVERY = [*LINEAR, SpectralHashing]


@pytest.fixture(scope="module")
def ellipse():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((24, 24)) * np.linspace(0.2, 3, 24)
    return (rng.standard_normal((2000, 24)) @ mixing + 5).astype(np.float32)


@pytest.mark.parametrize("method", EVERY)
def test_baselines_encode_reproducibly(method, ellipse):
    codes = method(16, random_state=3).fit(ellipse).transform(ellipse)
    assert codes.dtype == np.uint8
    assert codes.shape == (2000, 2)
    np.testing.assert_array_equal(method(16, random_state=3).fit(ellipse).transform(ellipse), codes)
    if method in LINEAR:  # The data were centred: bits are balanced.
        assert np.abs(unpack(codes).mean(axis=0) - 0.5).max() < 0.1


def test_itq_quantizes_with_less_loss_than_the_components_it_rotates(ellipse):
    def loss(hasher):
        projected = (ellipse - hasher.mean_) @ hasher.projection_
        return ((np.sign(projected) - projected) ** 2).sum()

    itq, pca = ITQ(16, random_state=0).fit(ellipse), PCAHash(16).fit(ellipse)
    assert loss(itq) < loss(pca)
    # A rotation of the same components: it spans the same space and keeps lengths.
    np.testing.assert_allclose(itq.projection_.T @ itq.projection_, np.eye(16), atol=1e-4)
    residual = itq.projection_ - pca.projection_ @ (pca.projection_.T @ itq.projection_)
    assert np.abs(residual).max() < 1e-4


def test_principal_components_are_the_leading_ones(ellipse):
    projection = PCAHash(8).fit(ellipse).projection_
    variances = (ellipse @ projection).var(axis=0)
    expected = np.linalg.eigvalsh(np.cov(ellipse.T, ddof=0))[::-1][:8]
    np.testing.assert_allclose(variances, expected, rtol=1e-3)


def test_baselines_refuse_what_they_cannot_do(ellipse):
    with pytest.raises(InputError, match="fewer bits"):
        ITQ(32).fit(ellipse)
    with pytest.raises(UsageError):
        PCAHash(7).fit(ellipse)
    with pytest.raises(NotFittedError):
        PCAHash(8).transform(ellipse)
    with pytest.raises(InputError, match="24"):
        PCAHash(8).fit(ellipse).transform(ellipse[:, :3])
    with pytest.raises(InputError):
        PCAHash(8).fit(ellipse[0])


def test_spectral_hashing_takes_the_smoothest_eigenfunctions_of_a_box():
    # The second side has its first eigenfunction between the second and third of the longest one.
    rng = np.random.default_rng(0)
    X = (rng.uniform(-0.5, 0.5, (4000, 3)) * [4, 1.7, 0.1]).astype(np.float32)
    bits = unpack(SpectralHashing(8).fit(X).transform(X))

    def eigenfunction(column, k):
        values = X[:, column]
        low, high = values.min(), values.max()
        return np.cos(k * np.pi * (values - low) / (high - low)) > 0

    order = sorted(
        ((k / side, column, k) for column, side in ((0, 4), (1, 1.7)) for k in range(1, 9)),
    )[:8]
    for bit, (_, column, k) in zip(bits.T, order, strict=True):
        agreement = (bit == eigenfunction(column, k)).mean()
        assert max(agreement, 1 - agreement) > 0.9, (column, k)


def test_spectral_hashing_gives_more_bits_than_there_are_features(ellipse):
    codes = SpectralHashing(64).fit(ellipse).transform(ellipse)
    assert codes.shape == (2000, 8)
    assert np.isfinite(SpectralHashing(8).fit(np.ones((20, 3))).projection_).all()


@pytest.mark.parametrize("method", EVERY)
def test_a_saved_baseline_is_the_same_again(method, ellipse, tmp_path):
    hasher = method(16, random_state=0).fit(ellipse)
    codes = hasher.transform(ellipse)
    hasher.save(tmp_path / "saved")
    opened = open_hasher(tmp_path / "saved")
    assert type(opened) is method
    assert opened.get_params() == hasher.get_params()
    assert opened.fingerprint_ == hasher.fingerprint_
    np.testing.assert_array_equal(opened.transform(ellipse), codes)
    np.testing.assert_array_equal(open_encoder(tmp_path / "saved").encode(ellipse), codes)
    np.testing.assert_allclose(opened.reconstruct(codes), hasher.reconstruct(codes))
    # A row's code does not depend on the rows beside it.
    np.testing.assert_array_equal(opened.transform(ellipse[7:8])[0], codes[7])


def test_bits_are_decoded_with_the_least_squared_error(ellipse):
    hasher = ITQ(16, random_state=0).fit(ellipse)
    bits = unpack(hasher.transform(ellipse))
    design = np.column_stack([bits, np.ones(len(bits))])
    best = design @ np.linalg.lstsq(design, ellipse, rcond=None)[0]
    np.testing.assert_allclose(hasher.reconstruct(np.packbits(bits, axis=1)), best, atol=1e-2)


def test_data_far_from_the_origin_keep_their_codes(ellipse):
    near, far = (PCAHash(8).fit(ellipse + shift).transform(ellipse + shift) for shift in (0, 1000))
    assert (unpack(near) == unpack(far)).mean() > 0.99


def test_a_folder_is_read_by_its_own_class_only(ellipse, tmp_path):
    PCAHash(8).fit(ellipse).save(tmp_path)
    assert isinstance(CodeEstimator.load(tmp_path), PCAHash)
    with pytest.raises(InputError, match="holds a PCAHash, not a SemanticHasher"):
        SemanticHasher.load(tmp_path)
    metadata = tmp_path / "encoder.json"
    metadata.write_text(metadata.read_text().replace('"PCAHash"', '"Path"'))
    with pytest.raises(hashret.DamagedIndexError, match="'Path'"):
        open_hasher(tmp_path)


def test_folders_that_name_no_class_hold_a_semantic_hasher(make_index):
    folder = make_index("vectors") / "encoder"
    metadata = folder / "encoder.json"
    lines = [line for line in metadata.read_text().splitlines() if '"estimator"' not in line]
    metadata.write_text("\n".join(lines))
    assert isinstance(open_hasher(folder), SemanticHasher)


@pytest.mark.parametrize("hasher", [ITQ(8, random_state=0), SpectralHashing(16)])
def test_an_index_made_with_a_baseline_finds_and_decodes_its_items(hasher, vectors, tmp_path):
    with hashret.create(tmp_path / "index", vectors, hasher=hasher) as index:
        results = index.query_many(vectors, radius=0, limit=None)
        assert all(str(i) in {hit.key for hit in hits} for i, hits in enumerate(results))
        rows = index.reconstruct(np.array([item.code for item in index.items()]))
    assert ((rows - vectors) ** 2).mean() < vectors.var(axis=0).mean()
