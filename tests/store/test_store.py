import json
import sqlite3

import numpy as np
import pytest

from hashret.errors import (
    DamagedIndexError,
    HashretError,
    IndexLockedError,
    InputError,
    UsageError,
)
from hashret.store import ItemStore, NewItem, WriterLock, encode_fields


def new_item(key, number=0, fields="{}"):
    return NewItem(key, bytes([number] * 4), fields, bytes(16))


@pytest.fixture
def store(tmp_path):
    store = ItemStore.create(tmp_path / "items.db", {"n_bits": 32})
    yield store
    store.close()


def fill(store, n, source=None):
    with store.writing() as writer:
        writer.insert((new_item(f"k{i}", i, json.dumps({"n": i})) for i in range(n)), source)
        writer.note_fields(["n"])


def test_what_is_written_is_there_after_opening_again(store):
    fill(store, 5)
    store.close()
    again = ItemStore.open(store.path)
    assert [item.key for item in again.items_in_order()] == ["k0", "k1", "k2", "k3", "k4"]
    assert again.item("k3").code.tolist() == [3, 3, 3, 3]
    assert again.item("k3").fields == {"n": 3}
    again.close()


def test_a_failed_transaction_leaves_nothing(store):
    fill(store, 2)
    generation = store.generation
    with pytest.raises(RuntimeError), store.writing() as writer:
        writer.insert([new_item("new")], None)
        raise RuntimeError
    assert store.count() == 2
    assert store.generation == generation


def test_rows_are_never_used_twice(store):
    fill(store, 3)
    with store.writing() as writer:
        writer.delete_rows([3])
        writer.insert([new_item("later")], None)
    assert store.item("later").row == 4


def test_a_reader_keeps_one_state_while_another_connection_writes(store):
    fill(store, 2)
    reader = ItemStore.open(store.path)
    with reader.reading():
        assert reader.count() == 2
        with store.writing() as writer:
            writer.insert([new_item("new")], None)
        assert reader.count() == 2
    assert reader.count() == 3
    reader.close()


def test_codes_come_in_row_order(store):
    fill(store, 300 % 256)
    rows, codes = store.codes(10, 20)
    assert rows.tolist() == list(range(10, 21))
    assert np.array_equal(codes[:, 0], rows - 1)


def test_deletions_list_only_rows_of_segments(store):
    fill(store, 6)
    with store.writing() as writer:
        writer.replace_segments([], "000001", 1, 4)
        writer.delete_rows([2, 5])
    assert store.deletions().tolist() == [2]


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("n < 2", [1, 2]),
        ("key = 'k3' or n = 1", [2, 4]),
        ("n is null", []),
        ("key like 'k%' and abs(n - 3) <= 1", [3, 4, 5]),
        ("key = 'a;b'", []),
        ("n = 2 -- a remark", [3]),
    ],
)
def test_where_selects_by_key_and_fields(store, condition, rows):
    fill(store, 6)
    assert store.rows_where(condition).tolist() == rows


@pytest.mark.parametrize(
    "condition",
    [
        "nonsense = 1",
        "n = ",
        "1) ; drop table items; --",
        "1); delete from items --",
        "1) union select row from (select 2 as row",
        "load_extension('x') is null",
        "exists (select 1 from settings)",
        "exists (select 1 from pragma_table_list)",
        "exists (select 1 from sqlite_master)",
        "(with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c)",
        "randomblob(1000000000) is null",
        "readfile('/etc/passwd') is null",
    ],
)
def test_where_can_only_read_items(store, condition):
    fill(store, 2)
    with pytest.raises(UsageError, match="condition"):
        store.rows_where(condition)
    assert store.count() == 2
    with store.writing() as writer:  # the authoriser is gone again
        writer.delete_rows([1])


def test_fields_with_awkward_names_can_be_used(store):
    names = ["it's", "select", "Größe"]
    fields = encode_fields(dict.fromkeys(names, 7))
    with store.writing() as writer:
        writer.insert([new_item("a", fields=fields)], None)
        writer.note_fields(names)
    assert store.rows_where('"it\'s" = 7 and "select" = 7 and größe = 7').tolist() == [1]
    assert store.rows_where("key = 'a'").tolist() == [1]


def test_fields_that_differ_only_in_case_are_refused(store):
    fill(store, 2)
    with (
        pytest.raises(InputError, match="'N' differs from the field 'n'"),
        store.writing() as writer,
    ):
        writer.note_fields(["N"])


def test_a_second_writer_is_told_the_holders_process(tmp_path):
    import os

    with WriterLock(tmp_path), pytest.raises(IndexLockedError, match=str(os.getpid())):
        WriterLock(tmp_path).__enter__()
    with WriterLock(tmp_path):
        pass


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(DamagedIndexError, match="items.db"):
        ItemStore.open(tmp_path / "items.db")


def test_a_newer_format_is_refused(store):
    with store.writing() as writer:
        writer.change_settings({"format": 99})
    store.close()
    with pytest.raises(DamagedIndexError, match="format 99"):
        ItemStore.open(store.path)


def test_any_page_overwritten_is_an_error_or_a_problem_never_a_crash(store):
    fill(store, 200)
    store.close()
    whole = store.path.read_bytes()
    expected = ItemStore.open(store.path)
    rows, codes = expected.codes(1)
    expected.close()
    rng = np.random.default_rng(0)
    for offset in range(0, len(whole), 1024):
        store.path.write_bytes(whole[:offset] + rng.bytes(1024) + whole[offset + 1024 :])
        for name in ("items.db-wal", "items.db-shm"):
            store.path.with_name(name).unlink(missing_ok=True)
        try:
            opened = ItemStore.open(store.path)
        except HashretError:
            continue
        problems = list(opened.problems())
        try:
            with opened.reading():
                found = opened.codes(1)
                same = np.array_equal(found[0], rows) and np.array_equal(found[1], codes)
        except HashretError:
            same = False
        assert same or problems, offset
        opened.close()


def test_a_changed_code_does_not_pass_its_checksum(store):
    fill(store, 3)
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("update items set code = x'ffffffff' where key = 'k1'")
    connection.commit()
    connection.close()
    opened = ItemStore.open(store.path)
    assert list(opened.problems()) == ["items.db: item 'k1' (row 2) does not match its checksum"]
    opened.close()
