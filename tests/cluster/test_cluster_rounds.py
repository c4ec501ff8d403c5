"""Bounds found in a round of their own change what is read, never what is answered."""

from dataclasses import replace

import numpy as np
import pytest
from cluster_fixtures import made_index, split, tied_vectors

from hashret.cluster.actors import _answered, _nearest
from hashret.cluster.rounds import Rounds
from hashret.cluster.shard_answers import Question, bounds_of, falls_short, merged
from hashret.index.index import Index
from hashret.index.ordering import refined
from hashret.search import Found


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with made_index(tmp_path_factory.mktemp("one") / "index", keep_vectors=True) as index:
        yield index


@pytest.fixture
def shards(index, tmp_path):
    place = split(index, tmp_path / "cluster", 4)
    found = [Index.open(place / "shards-1" / f"{number:05}") for number in range(4)]
    yield found
    for shard in found:
        shard.close()


def hits(results):
    return [
        [
            (hit.rank, hit.key, hit.distance, hit.code.tobytes(), hit.fields, hit.vector_distance)
            for hit in result
        ]
        for result in results
    ]


def question_of(index, limit=10, where=None, order="key", rerank=False, shortlist=None):
    rows = index.encoder.rows(list(tied_vectors(40, seed=7)))
    encoder = index.encoder.runtime
    logits = encoder.logits(rows) if order == "certainty" else None
    wanted = refined(logits, rows if rerank else None, limit, shortlist, by_key=True)
    codes = encoder.encode(rows)
    return Question(codes, None, limit, where, wanted, encoder=index.fingerprint)


def asked(shards, question, known=None):
    return {
        number: _answered(shard, question, known and known[number])
        for number, shard in enumerate(shards)
    }


def bounded(shards, question):
    return replace(question, bounds=bounds_of(question, [_nearest(s, question)[0] for s in shards]))


@pytest.mark.parametrize(
    "how",
    [
        {"limit": 1},
        {"limit": 10},
        {"limit": 333},
        {"limit": 5_000},
        {"limit": 20, "where": "third = 1"},
        {"limit": 5, "where": "n < 9"},
        {"limit": 7, "order": "certainty"},
        {"limit": 3, "rerank": True, "shortlist": 90},
    ],
    ids=str,
)
def test_answers_within_bounds_are_those_without(index, shards, how):
    question = question_of(index, **how)
    within = bounded(shards, question)
    few, all_of = asked(shards, within), asked(shards, question)
    assert not falls_short(within, few)
    limit = how["limit"]
    results = hits(merged(within, few, limit, (), 1.0))
    assert results == hits(merged(question, all_of, limit, (), 1.0))
    known = [_nearest(shard, question)[1] for shard in shards]
    assert results == hits(merged(within, asked(shards, within, known), limit, (), 1.0))
    if "rerank" not in how and "order" not in how:
        expected = index.query_many(
            tied_vectors(40, seed=7), limit=limit, where=how.get("where"), order="key"
        )
        assert results == hits(expected)


def test_bounds_spare_shards_most_of_the_reading(index, shards):
    question = question_of(index, limit=200)
    within = bounded(shards, question)
    few, all_of = (
        sum(len(one.columns.keys) for one in asked(shards, which).values())
        for which in (within, question)
    )
    assert few < all_of / 2


def test_what_is_removed_between_the_rounds_is_noticed(index, shards):
    question = question_of(index, limit=10)
    within = bounded(shards, question)
    nearest = merged(within, asked(shards, within), 10, (), 1.0)[0][0]
    for shard in shards:
        if nearest.key in shard:
            shard.remove([nearest.key])
            shard.remove([hit.key for hit in shard.query_code(nearest.code, 3, None)])
    assert falls_short(within, asked(shards, within))
    assert not falls_short(question, asked(shards, question))


def test_what_was_found_is_not_taken_for_another_state(index, shards):
    question = question_of(index, limit=10)
    within = bounded(shards, question)
    known = [_nearest(shard, question)[1] for shard in shards]
    before = hits(merged(within, asked(shards, within, known), 10, (), 1.0))
    for shard in shards:
        shard.remove(list(shard)[:20])
    now = merged(question, asked(shards, question), 10, (), 1.0)
    assert hits(now) != before
    within = bounded(shards, question)
    assert hits(merged(within, asked(shards, within, known), 10, (), 1.0)) == hits(now)


def test_what_a_damaged_segment_told_is_found_anew(index, shards, caplog):
    for shard in shards:
        shard.compact()
    question = question_of(index, limit=10)
    within = bounded(shards, question)
    right = hits(merged(within, asked(shards, within), 10, (), 1.0))
    known = []
    for shard in shards:
        found = _nearest(shard, question)[1]
        wrong = [Found(one.rows[::-1], one.distances, one.stats) for one in found.founds]
        known.append(replace(found, founds=wrong))
    assert hits(merged(within, asked(shards, within, known), 10, (), 1.0)) == right
    assert "does not agree with items.db" in caplog.text


def test_shards_send_no_later_ties_once_they_know_the_order_of_keys(index, shards):
    question = question_of(index, limit=10)
    within = bounded(shards, question)

    def sent(right=None):
        answers = asked(shards, within)
        assert not falls_short(within, answers)
        found = hits(merged(within, answers, 10, (), 1.0))
        assert right in (None, found)
        return found, sum(len(one.columns.keys) for one in answers.values())

    found, before = sent()
    assert sent(found)[1] < before
    for shard in shards:  # now some have no rank yet
        shard.add([("new", np.full(6, 9, np.float32))])
    within = bounded(shards, question)
    sent(hits(merged(question, asked(shards, question), 10, (), 1.0)))


def test_two_rounds_are_for_many_hits_or_codes_and_no_radius():
    rounds = Rounds(shards=4)
    code = np.zeros((1, 8), np.uint8)
    codes = np.zeros((1000, 8), np.uint8)
    wanted = refined(None, None, 10, None, by_key=True)
    assert not rounds.bounds_pay(Question(code, None, 10, None, wanted))
    assert rounds.bounds_pay(Question(codes, None, 10, None, wanted))
    assert rounds.bounds_pay(Question(code, None, 10_000, None, wanted))
    assert not rounds.bounds_pay(Question(codes, 3, None, None, wanted))
    assert not rounds.bounds_pay(Question(codes, 3, 10, None, wanted))
    assert not Rounds(shards=1).bounds_pay(Question(codes, None, 10, None, wanted))
    rounds.trip_seconds = 1.0
    assert not rounds.bounds_pay(Question(codes, None, 10, None, wanted))
