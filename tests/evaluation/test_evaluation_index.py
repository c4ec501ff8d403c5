"""An index is judged by labels or by neighbours of its features, and says what it cannot do."""

import json

import numpy as np
import pytest
from conftest import write_idx

import hashret
from hashret.codes import hamming
from hashret.errors import InputError, UsageError
from hashret.evaluation import evaluate


def stored(index):
    items = index.items()
    return np.array([item.code for item in items]), [item.fields.get("label") for item in items]


def expected_precision(codes, queries, relevant, own, k):
    """Mean over queries, and over random orders of ties, of the share of relevant items."""
    shares = []
    for query, hits, left_out in zip(queries, relevant, own, strict=True):
        distances = hamming(query, codes).astype(float)
        if left_out >= 0:
            distances[left_out] = np.inf
        edge = np.sort(distances)[k - 1]
        inside, ties = distances < edge, distances == edge
        shares.append((hits[inside].sum() + (k - inside.sum()) * hits[ties].mean()) / k)
    return np.mean(shares)


def test_own_items_leave_themselves_out(digits_index):
    report = evaluate(digits_index)
    codes, labels = stored(digits_index)
    labels = np.array(labels)
    same = labels == labels[:, None]
    assert report.queries == 300
    assert report.truth == "equal label"
    for k in (1, 10, 100):
        assert report.precision[k] == pytest.approx(
            expected_precision(codes, codes, same, range(300), k)
        )
    within = hamming(codes[:, None], codes) <= 2
    assert report.radius.items[2] == pytest.approx(within.sum(axis=1).mean() - 1)
    assert report.items == 300
    assert report.notes == []


def test_queries_of_a_source_are_judged_by_their_own_labels(
    digits_index, idx_files, digits, digit_labels
):
    report = evaluate(digits_index, idx_files / "test-images-idx3-ubyte")
    codes, labels = stored(digits_index)
    queries = digits_index.encode(list(digits[300:350]))
    same = digit_labels[300:350, None] == np.array(labels)
    assert report.queries == 50
    assert report.precision[10] == pytest.approx(
        expected_precision(codes, queries, same, [-1] * 50, 10)
    )


def test_a_query_that_is_in_the_index_leaves_itself_out(digits_index, idx_files):
    own = evaluate(digits_index)
    again = evaluate(digits_index, idx_files / "train-images-idx3-ubyte")
    assert again.precision == pytest.approx(own.precision)
    assert again.map_all == pytest.approx(own.map_all)


def test_features_tell_of_true_neighbours_and_of_reconstruction(digits_index, digits):
    report = evaluate(digits_index)
    codes, _ = stored(digits_index)
    pixels = digits[:300].reshape(300, -1).astype(np.float64) / 255
    distances = ((pixels[:, None] - pixels) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :10]
    hits = np.zeros((300, 300), dtype=bool)
    np.put_along_axis(hits, nearest, True, axis=1)
    for k in (10, 100):
        recall = expected_precision(codes, codes, hits, range(300), k) * k / 10
        assert report.neighbour_recall[k] == pytest.approx(recall, rel=1e-3)
    labels = np.array(stored(digits_index)[1])
    assert report.float_precision[10] == pytest.approx((labels[nearest] == labels[:, None]).mean())


def test_reconstruction_is_measured_on_queries_and_learned_on_others(
    digits_index, idx_files, digits
):
    report = evaluate(digits_index, idx_files / "test-images-idx3-ubyte")
    pixels = digits[300:350].reshape(50, -1).astype(np.float32) / 255
    rebuilt = digits_index.reconstruct(digits_index.encode(list(digits[300:350])))
    assert report.reconstruction.codes == pytest.approx(((pixels - rebuilt) ** 2).mean(), rel=1e-3)
    train = digits[:300].reshape(300, -1) / 255
    basis = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[2][:2]
    centred = pixels - train.mean(axis=0)
    error = ((centred - centred @ basis.T @ basis) ** 2).mean()
    assert report.reconstruction.same_bits_components == 2
    assert report.reconstruction.same_bits == pytest.approx(error, rel=1e-3)


def test_without_labels_the_nearest_by_features_are_the_truth(tmp_path, vectors):
    np.save(tmp_path / "vectors.npy", vectors)
    with hashret.create(
        tmp_path / "index", tmp_path / "vectors.npy", 32, epochs=3, random_state=0
    ) as index:
        index.remove(["5", "17"])
        report = evaluate(index, sample=40)
        codes, _ = stored(index)
    kept = np.delete(vectors, [5, 17], axis=0).astype(np.float64)
    assert report.truth.startswith("the 100 nearest")
    assert report.queries == 40
    assert report.float_precision is None
    # The same drawing, in the open.
    own = np.sort(np.random.default_rng(0).choice(598, 40, replace=False))
    distances = ((kept[own, None] - kept) ** 2).sum(axis=2)
    distances[np.arange(40), own] = np.inf
    hits = np.zeros((40, 598), dtype=bool)
    np.put_along_axis(hits, np.argsort(distances, axis=1)[:, :100], True, axis=1)
    assert report.precision[10] == pytest.approx(
        expected_precision(codes, codes[own], hits, own, 10), rel=1e-6
    )


def test_items_that_changed_on_disk_are_left_out_of_the_truth_and_named(tmp_path, vectors):
    np.save(tmp_path / "vectors.npy", vectors)
    with hashret.create(
        tmp_path / "index", tmp_path / "vectors.npy", 32, epochs=3, random_state=0
    ) as index:
        changed = vectors.copy()
        changed[:50] += 1
        np.save(tmp_path / "vectors.npy", changed)
        report = evaluate(index)
        assert any("50 of 600" in note for note in report.notes)
        assert report.queries == 550
        # Only what could be read is ranked: all of it is within the largest radius.
        assert report.radius.items[32] == pytest.approx(549)


def test_principal_components_learn_from_the_items_as_the_encoder_did(digits_index, digits):
    # Every item is asked: were they kept from the components, nothing would be left to learn from.
    report = evaluate(digits_index)
    assert report.queries == len(digits_index)
    pixels = digits[:300].reshape(300, -1) / 255
    centred = pixels - pixels.mean(axis=0)
    basis = np.linalg.svd(centred, full_matrices=False)[2][:2]
    error = ((centred - centred @ basis.T @ basis) ** 2).mean()
    assert report.reconstruction.same_bits == pytest.approx(error, rel=1e-3)


def test_labels_suffice_where_features_cannot_be_read(digits, digit_labels, tmp_path):
    pairs = [
        (str(i), digits[i], {"digit": int(digit_labels[i])} if i % 3 else {}) for i in range(120)
    ]
    with hashret.create(tmp_path / "index", pairs, 16, epochs=3, random_state=0) as index:
        report = evaluate(index, label="digit")
        assert report.queries == 80  # a third has no label, and is relevant to nothing
        assert report.truth == "equal digit"
        assert report.neighbour_recall is None
        assert report.reconstruction is None
        assert len(report.notes) == 1
        with pytest.raises(InputError, match="no labels.*--label.*came from Python"):
            evaluate(index)
        with pytest.raises(UsageError, match="'colour'.*digit"):
            evaluate(index, label="colour")


def test_a_label_field_that_is_always_empty_is_no_truth(digits, tmp_path):
    pairs = [(str(i), digits[i], {"label": None}) for i in range(60)]
    with (
        hashret.create(tmp_path / "index", pairs, 16, epochs=2, random_state=0) as index,
        pytest.raises(InputError, match="no labels"),
    ):
        evaluate(index)


def test_queries_without_the_labels_of_the_index_are_refused(digits_index, digits, tmp_path):
    lonely = write_idx(tmp_path / "lonely-images-idx3-ubyte", digits[400:420])
    with pytest.raises(InputError, match="no field 'label'"):
        evaluate(digits_index, lonely)
    texts = [(f"q{i}", digits[400 + i], {"label": str(i)}) for i in range(5)]
    with pytest.raises(InputError, match="such as '0'"):
        evaluate(digits_index, texts)
    with pytest.raises(InputError, match="images"):
        evaluate(digits_index, np.eye(5))
    with pytest.raises(UsageError):
        evaluate(digits_index, sample=0)


def test_the_same_seed_draws_the_same_questions(digits_index):
    one, same, other = (evaluate(digits_index, sample=50, seed=seed) for seed in (1, 1, 2))
    assert one.map_all == same.map_all
    assert one.map_all != other.map_all


def test_a_report_is_json_with_every_radius(digits_index):
    report = evaluate(digits_index, sample=30)
    values = json.loads(json.dumps(report.to_dict()))
    assert [point["radius"] for point in values["radius"]] == list(range(65))
    assert values["radius"][64]["recall"] == pytest.approx(1)
    assert values["precision"]["10"] == pytest.approx(report.precision[10])
    assert {cost["search"] for cost in values["search"]} == {"radius 2", "10 nearest"}


def test_evaluating_changes_nothing(make_index):
    path = make_index("digits")
    before = (path / "items.db").read_bytes()
    with hashret.open(path) as index:
        evaluate(index, sample=20)
    assert (path / "items.db").read_bytes() == before
