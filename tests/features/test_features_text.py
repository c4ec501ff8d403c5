"""Text as features: rows that depend on their text alone, kept and read again, of any text."""

import json
import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_texts import NOUNS, TEXTS
from threadpoolctl import threadpool_limits

from hashret.errors import DamagedIndexError, EncoderMismatchError, InputError, UsageError
from hashret.features import features_from_json, learn_features, text_wordllama
from hashret.features.text import MAX_CHARACTERS
from hashret.features.text_learning import leading_directions, learn_vectors
from hashret.features.text_words import Corpus, grams_of, words_of

METHODS = ["tfidf", "counts", "wordllama"]
HOSTILE = {
    "empty": "",
    "spaces": " \n\t\u3000 ",
    "nulls": "cat\0dog\0\0",
    "only nulls": "\0\0",
    "lone surrogates": "cat \ud800 dog \udfff",
    "punctuation": "!?... --- ,,,",
    "emoji": "😀 🐈 👩‍👩‍👧",
    "Chinese": "这是一只猫和一条狗",
    "Arabic": "القط والكلب",
    "combining": "e\u0301" * 1000,
    "expands when folded": "ﷺ" * 1000 + "ß" * 1000,
    "one long word": "x" * 200_000,
    "a million characters": "the cat sees the dog " * 50_000,
    "control characters": "".join(map(chr, range(32))) + "cat",
}


@pytest.fixture(scope="module", params=METHODS)
def features(request):
    return learn_features("text", iter(TEXTS), request.param)


def read_again(features):
    arrays = features.arrays()
    return features_from_json(json.loads(json.dumps(features.to_json())), arrays.__getitem__)


def test_a_row_is_the_same_alone_and_in_every_batch(features):
    texts = [*TEXTS, *(text for text in HOSTILE.values() if len(text) < 3000), *TEXTS[:9]]
    matrix, failures = features.matrix(texts)
    failed = {failure.position for failure in failures}
    alone = [features.vector(text) for n, text in enumerate(texts) if n not in failed]
    np.testing.assert_array_equal(matrix, np.stack(alone))
    for size in (2, 63, 64, 65):
        parts = [features.matrix(texts[n : n + size])[0] for n in range(0, len(texts), size)]
        np.testing.assert_array_equal(np.concatenate(parts), matrix)


def test_what_is_kept_makes_the_same_rows(features):
    again = read_again(features)
    expected, _ = features.matrix(TEXTS)
    np.testing.assert_array_equal(again.matrix(TEXTS)[0], expected)
    assert (again.kind, again.n_features) == ("text", expected.shape[1])
    assert (again.describe(), again.to_json()) == (features.describe(), features.to_json())


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_has_a_row_or_a_reason(features, name):
    matrix, failures = features.matrix(["the cat sees the dog", HOSTILE[name], TEXTS[0]])
    assert len(matrix) + len(failures) == 3
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()
    assert [failure.position for failure in failures] in ([], [1])
    if name in ("empty", "spaces", "only nulls"):
        assert failures[0].reason == "holds no text"
        with pytest.raises(InputError, match="holds no text"):
            features.vector(HOSTILE[name])


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200))
def test_no_text_is_too_strange(features, text):
    matrix, failures = features.matrix([text])
    assert len(matrix) + len(failures) == 1
    assert np.isfinite(matrix).all()


def test_what_lies_beyond_the_limit_is_not_read(features):
    start = ("the cat sees the dog " * 10_000)[:MAX_CHARACTERS]
    np.testing.assert_array_equal(features.vector(start + " violin" * 1000), features.vector(start))


def test_subjects_are_nearer_than_others(features):
    matrix, _ = features.matrix(TEXTS)
    rows = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    similarity = rows @ rows.T
    same = np.arange(len(TEXTS))[:, None] % 4 == np.arange(len(TEXTS)) % 4
    assert similarity[same].mean() > similarity[~same].mean() + 0.1


def test_case_and_ways_of_writing_do_not_count():
    for method in ("tfidf", "counts"):
        features = learn_features("text", TEXTS, method)
        np.testing.assert_array_equal(
            features.vector("The CAT"), features.vector("the \uff43\uff41\uff54!")
        )


def test_an_unknown_word_is_read_by_its_parts():
    features = learn_features("text", TEXTS, "tfidf")
    unknown = features.vector("violinist")
    nearest = max(NOUNS, key=lambda word: float(features.vector(word) @ unknown))
    assert nearest == "violin"


def test_what_no_feature_knows_is_named():
    features = learn_features("text", TEXTS, "counts")
    matrix, (failure,) = features.matrix(["xyzzy plugh", "cat"])
    assert len(matrix) == 1
    assert (failure.position, failure.reason) == (0, "holds no word that these features know")
    with pytest.raises(InputError, match="'xyzzy' cannot be used: it holds no word"):
        features.vector("xyzzy")


def test_counts_are_counts_of_words_that_are_neither_rare_nor_everywhere():
    features = learn_features("text", TEXTS, "counts")
    assert "the" not in features.words
    row = features.vector("cat cat dog the")
    found = {word: row[n] for n, word in enumerate(features.words) if row[n]}
    assert found == {"cat": 2, "dog": 1}


def sklearn_tfidf(texts, weight):
    """The whole TF-IDF matrix of words and parts of words, by scikit-learn's own means."""
    from scipy.sparse import diags, hstack
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    words = CountVectorizer(token_pattern=r"\w+")
    counts = words.fit_transform(texts)
    damped = counts.astype(float)
    damped.data = 1 + np.log(damped.data)
    parts = CountVectorizer(analyzer="char_wb", ngram_range=(3, 4))
    of_words = parts.fit_transform(words.get_feature_names_out())
    holds = np.minimum((counts > 0).sum(axis=0) @ of_words, len(texts))
    rarity = np.log((1 + len(texts)) / (1 + np.asarray(holds).ravel())) + 1
    weighted = damped @ of_words @ diags(rarity * weight)
    own = TfidfTransformer(norm=None).fit(counts).idf_
    lengths = np.sqrt(np.asarray((damped @ diags(own)).power(2).sum(axis=1)).ravel())
    return hstack([damped @ diags(own), weighted], format="csr"), lengths


@pytest.mark.parametrize("dimensions", [256, 8])
def test_tfidf_is_what_scikit_learn_makes(dimensions):
    from sklearn.decomposition import TruncatedSVD

    texts = [f"{TEXTS[n]} extra{n} words{n * 7 % 9}" for n in range(9)]  # few: every word counts
    words, grams, table = learn_vectors(
        Corpus.read(texts), dimensions, max_words=10**6, max_grams=10**6, gram_weight=0.3
    )
    assert len(words) + len(grams) == len(table)
    whole, lengths = sklearn_tfidf(texts, 0.3)
    expected = whole.toarray()
    if dimensions < len(texts):
        reduction = TruncatedSVD(dimensions, algorithm="arpack").fit(
            (whole.multiply(1 / lengths[:, None])).tocsr()
        )
        expected = reduction.transform(whole)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    place = {word: n for n, word in enumerate(words)}
    rows = np.stack(
        [
            sum((1 + math.log(c)) * table[place[w]].astype(float) for w, c in words_of(t).items())
            for t in texts
        ]
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(rows @ rows.T, expected @ expected.T, atol=2e-3)


def test_only_frequent_words_are_taken_apart(monkeypatch):
    monkeypatch.setattr("hashret.features.text_learning.WORDS_WITH_PARTS", 2)
    texts = ["violin", "trumpet violin", "oven trumpet violin"]
    _, grams, _ = learn_vectors(
        Corpus.read(texts), 8, max_words=10, max_grams=1000, gram_weight=0.1
    )
    assert set(grams) == {*grams_of("violin"), *grams_of("trumpet")}


def test_parts_of_words_are_scikit_learn_s():
    from sklearn.feature_extraction.text import CountVectorizer

    analyse = CountVectorizer(analyzer="char_wb", ngram_range=(3, 4)).build_analyzer()
    for word in ("violin", "ab", "überall"):
        assert sorted(grams_of(word)) == sorted(analyse(word))


@pytest.mark.parametrize("method", METHODS)
def test_settings_that_make_no_sense_are_damaged(method):
    features = learn_features("text", TEXTS, method)
    for name in features.to_json():
        for bad in ("missing", None, 0, -1, "28", 2.5, True, [""], {}, ["a", "a"]):
            altered = {key: value for key, value in features.to_json().items() if key != name}
            if bad != "missing":
                altered[name] = bad
            with pytest.raises(DamagedIndexError, match=r"features\.json"):
                features_from_json(altered, features.arrays().__getitem__)


def test_an_array_of_another_index_is_damage():
    features = learn_features("text", TEXTS, "tfidf")
    table = features.table
    for other in (table[:-1], table[:, :-1], table.astype(np.float32), table[0]):
        with pytest.raises(DamagedIndexError, match="do not belong together"):
            features_from_json(features.to_json(), lambda _, other=other: other)
    with pytest.raises(DamagedIndexError, match=r"features\.npy"):
        features_from_json(features.to_json())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [b"bytes", 3, None, ["a"], np.zeros(3)], ids=repr)
def test_what_is_no_text_is_refused(method, value):
    features = learn_features("text", TEXTS, method)
    with pytest.raises(InputError, match="Expected text"):
        features.matrix(["cat", value])


@pytest.mark.parametrize("method", ["tfidf", "counts"])
def test_words_are_needed_to_learn(method):
    for texts in ([], [""], ["!", "  "]):
        with pytest.raises(InputError, match="no word"):
            learn_features("text", texts, method)


@pytest.mark.parametrize("texts", [["cat"], ["cat dog"] * 30, ["a b", "b c"]])
def test_very_small_corpora_can_be_learned(texts):
    for method in ("tfidf", "counts"):
        matrix, failures = learn_features("text", texts, method).matrix(texts)
        assert (len(matrix), failures) == (len(texts), [])


def test_unknown_methods_and_methods_for_other_kinds_are_refused():
    with pytest.raises(UsageError, match="auto, wordllama, tfidf, counts"):
        learn_features("text", TEXTS, "bert")
    with pytest.raises(UsageError, match="is for texts"):
        learn_features("vectors", [[1, 2]], "tfidf")


def test_without_the_package_tfidf_is_chosen_and_wordllama_is_refused(monkeypatch):
    assert learn_features("text", TEXTS).method == "wordllama"
    monkeypatch.setattr(text_wordllama, "find_spec", lambda name: None)
    assert learn_features("text", TEXTS).method == "tfidf"
    with pytest.raises(UsageError, match=r"hashret\[text\]"):
        learn_features("text", TEXTS, "wordllama")


def test_texts_in_other_letters_are_not_given_english_embeddings():
    for text in ("кошка и собака", "这是一只猫", "القط والكلب"):
        assert learn_features("text", iter([text] * 5)).method == "tfidf"
    for text in ("überall Straße", "tiếng Việt", "12 + 3", ""):
        assert learn_features("text", iter([text, "naïve"])).method == "wordllama"


def test_looking_at_the_letters_of_texts_takes_none_of_them_away():
    texts = (f"кошка{n} собака{n}" for n in range(1500))
    assert learn_features("text", texts).words[-1].endswith("1499")


def test_a_question_in_other_letters_is_warned_of(caplog):
    embedded = learn_features("text", TEXTS, "wordllama")
    embedded.vector("the cat is 猫")
    embedded.matrix(["кошка"])
    assert caplog.text == ""
    embedded.vector("кошка")
    assert "serve English" in caplog.text
    caplog.clear()
    learn_features("text", TEXTS, "tfidf").vector("кошка cat")
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["WEIGHTS", "TOKENIZER"])
def test_a_package_without_its_embeddings_is_named(monkeypatch, tmp_path, name):
    from pathlib import Path

    monkeypatch.setattr(text_wordllama, name, Path("none"))
    assert not text_wordllama.is_installed()
    assert learn_features("text", TEXTS).method == "tfidf"
    with pytest.raises(UsageError, match=r"none.*hashret\[text\]"):
        learn_features("text", TEXTS, "wordllama")
    (tmp_path / "empty").touch()
    monkeypatch.setattr(text_wordllama, name, tmp_path / "empty")
    with pytest.raises((UsageError, EncoderMismatchError)):
        features_from_json(learned_digest()).vector("cat")


def learned_digest():
    return {"kind": "text", "format": 1, "method": "wordllama", "digest": "0" * 64}


def test_few_long_texts_are_cut_into_pieces_at_a_time(monkeypatch):
    features = learn_features("text", TEXTS, "wordllama")
    tokenizer, table = features._parts
    sizes = []

    class Watched:
        def encode_batch_fast(self, texts, **options):
            sizes.append((len(texts), sum(map(len, texts))))
            return tokenizer.encode_batch_fast(texts, **options)

    monkeypatch.setitem(features.__dict__, "_parts", (Watched(), table))
    monkeypatch.setattr(text_wordllama, "CHARACTERS_AT_A_TIME", 3000)
    texts = ["the cat " * 500, *["a dog"] * 600, "the oven " * 100, "the violin " * 300]
    matrix, _ = features.matrix(texts)
    assert len(matrix) == len(texts) == sum(n for n, _ in sizes)
    assert max(n for n, _ in sizes) == 256
    assert sizes[0] == (1, 3999)
    np.testing.assert_array_equal(matrix[-1], features.vector(texts[-1]))


def test_embeddings_of_another_model_are_refused():
    features = learn_features("text", TEXTS, "wordllama")
    other = features_from_json({**features.to_json(), "digest": "0" * 64})
    with pytest.raises(EncoderMismatchError, match="0000000000000000"):
        other.vector("cat")


def test_embeddings_are_those_of_the_package():
    import logging

    from wordllama import WordLlama

    level = logging.getLogger().level
    model = WordLlama.load(cache_dir=text_wordllama._folder(), disable_download=True)
    logging.getLogger().setLevel(level)
    expected = model.embed(["the cat sees", "a dog"], norm=True)
    rows, _ = learn_features("text", TEXTS, "wordllama").matrix(["the  cat\nsees", "a dog"])
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_the_words_of_a_row():
    counts = learn_features("text", TEXTS, "counts")
    assert set(counts.top_words(counts.vector("cat cat dog"), 2)) == {"cat", "dog"}
    tfidf = learn_features("text", TEXTS, "tfidf")
    assert "violin" in tfidf.top_words(tfidf.vector("violin"), 3)
    embedded = learn_features("text", TEXTS, "wordllama")
    with pytest.raises(UsageError, match="cannot be put into words"):
        embedded.top_words(embedded.vector("cat"), 3)


def test_directions_do_not_depend_on_the_number_of_threads():
    texts = scipy.sparse.random(6000, 3000, 0.01, "csr", np.float32, rng=np.random.default_rng(0))
    terms = scipy.sparse.identity(3000, np.float32, "csr")
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(leading_directions(texts, terms, 256))
    assert np.array_equal(*found)


def test_signs_alone_are_no_text(features):
    matrix, failures = features.matrix(["the cat", "!!! ... ??", "the dog"])
    assert len(matrix) == 2
    assert [(one.position, one.reason) for one in failures] == [
        (1, "holds no word that these features know")
    ]
