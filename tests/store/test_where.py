"""Conditions: what they select and must not do, and that an index on a field changes no answer."""

import itertools
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import hashret
from hashret.errors import DamagedIndexError, UsageError
from hashret.store import ItemStore, NewItem
from hashret.store.patience import patience
from hashret.store.where import where_sql

VALUES = [
    None, True, False, 0, 1, -1, 9, 9.0, 9.5, 1e300, 2**62, "", "9", "nine", "NINE", "true",
    "it's", 'a "b"', "größe", "%", "[x]", "null",
]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Items that have each value, and none, as the fields "mixed" and "or der"."""
    store = ItemStore.create(tmp_path / "items.db", {"n_bits": 32})
    rows = [{"mixed": one, "or der": other} for one, other in itertools.pairwise(VALUES * 3)]
    rows += [{}, {"mixed": "alone"}]
    with store.writing() as writer:
        writer.insert(
            (
                NewItem(f"k{number}", bytes(4), json.dumps(fields), bytes(16))
                for number, fields in enumerate(rows)
            ),
            None,
        )
        writer.note_fields(["mixed", "or der"])
    yield store
    store.close()


BOMB = "a%" * 400
REFUSED = {
    "attach": "1); attach database '/tmp/x.db' as x; --",
    "pragma": "1); pragma journal_mode = delete; --",
    "write": "1); delete from items; --",
    "returning": "(delete from items returning 1)",
    "content hash": "(select content_hash from items) is not null",
    "checksum": "(select max(checksum, 0) from items) > 0",
    "code": "exists (select 1 from items where code > x'00')",
    "source": "exists (select 1 from items where source = 1)",
    "position": "exists (select 1 from items where position = 1)",
    "star": "exists (select * from items where row = 1)",
    "settings": "(select value from settings) is not null",
    "sources": "exists (select location from sources)",
    "schema": "exists (select sql from sqlite_master)",
    "schema by table function": "exists (select 1 from pragma_table_info('items'))",
    "table function": "exists (select 1 from json_each('[1]'))",
    "tree": "key in (select value from json_tree('[1]'))",
    "recursion": "(with recursive c(x) as (select 1 union select x + 1 from c) select x from c)",
    "union": "1) union select row from items where (1",
    "union hidden by a name": "key in (select 1 as [(])) union select row from items --",
    "extension": "load_extension('x') is null",
    "file": "readfile('/etc/passwd') is null",
    "write a file": "writefile('/tmp/x', 'y')",
    "randomblob": "randomblob(1000000000) is null",
    "zeroblob": "length(zeroblob(2000000000)) > 1",
    "printf": "printf('%2000000000d', 1) is null",
    "format": "format('%2000000000d', 1) is null",
    "hex": "hex(key) = ''",
    "growing text": "length(" + "replace(" * 9 + "'aaaaaaaaaa'" + ", 'a', 'aaaaaaaaaa')" * 9 + ")",
    "replace": "replace(mixed, 'a', 'b') = 'x'",
    "doubled text": "length(" + "(select x || x as x from " * 9 + f"(select '{'a' * 5000}' as x)"
    + ")" * 8 + ") > 1",
    "many characters to trim": f"trim(mixed, '{'a' * 101}') = ''",
    "like": f"key like '{BOMB * 3}'",
    "glob": f"key glob '{'*a' * 600}'",
    "brackets": "(" * 10_000 + "1" + ")" * 10_000,
    "brackets open": "(" * 10_000,
    "unary": "not " * 10_000 + "1",
    "minus": "- " * 10_000 + "1",
    "or": " or ".join(["mixed = 1"] * 5_000),
    "long": f"mixed = '{'x' * 2_000_000}'",
    "null character": "mixed = 'a\0b'",
    "null character outside": "mixed = 1 \0",
    "surrogate": "mixed = '\ud800'",
    "semicolon": "mixed = 1;",
    "open text": "mixed = 'x",
    "open text and remark": "mixed = 1 -- ' \n or 'x",
    "open name": 'mixed = "x',
    "open backquote": "mixed = `x",
    "open square": "mixed = [x",
    "open remark": "mixed = 1 /* x",
    "quotes": "'" * 100_001,
    "quotes apart": "' '" * 50_000 + "'",
    "double quotes": '"' * 100_001,
    "slashes and stars": "/*" * 50_000,
    "dashes": "mixed = 1 " + "--" * 50_000 + "\n )",
    "closing": "mixed = 1) or (1",
    "text as a name": 'mixed = "nine"',
    "unknown": "nonsense = 1",
    "placeholder": "mixed = ?",
    "named placeholder": "mixed = :x",
    "two": "mixed = 1, 2",
    "aggregate": "count(*) > 0",
    "window": "row_number() over () = 1",
    "match": "key match 'x'",
    "regexp": "key regexp '(a+)+$'",
    "subquery without end": "(select sum(1) from items a, items b) > 0",
    "empty": "",
    "remark": "-- nothing",
    "number": 7,
    "bytes": b"1",
}  # fmt: skip


@pytest.mark.parametrize("condition", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_changes_nothing(store, condition):
    before = (store.path.read_bytes(), store.count())
    with pytest.raises(UsageError) as caught:
        store.rows_where(condition)
    assert len(str(caught.value)) < 1000
    assert (store.path.read_bytes(), store.count()) == before
    # The connection is as it was: what conditions may not read, hashret can.
    assert store.items_in_order(limit=1)[0].key == "k0"
    assert store._connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) >= 10**9


@pytest.mark.parametrize("column", ["fields", "code", "rowid", "items.row", "source"])
def test_a_condition_sees_no_column_but_those_of_items(store, column):
    with pytest.raises(UsageError, match="no such column"):
        store.rows_where(f"{column} is not null")


def test_a_condition_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("hashret.store.where._MIN_STEPS", 1_000_000)
    store = ItemStore.create(tmp_path / "items.db", {"n_bits": 32})
    with store.writing() as writer:
        writer.insert((NewItem(f"k{i}", bytes(4), "{}", bytes(16)) for i in range(300)), None)
    with pytest.raises(UsageError, match="too long"):
        store.rows_where(
            "exists (select 1 from items a, items b, items c where a.row + b.row + c.row < 0)"
        )
    assert len(store.rows_where("row > 0")) == 300
    # What one step may do is bounded by the lengths of texts and patterns.
    assert store.rows_where(f"'{'a' * 5000}' like '{BOMB}%b%'").size == 0
    store.close()


def test_a_function_of_two_long_texts_can_be_stopped(store):
    """SQLite's own instr and trim take the product of the lengths, in one step."""
    long, almost = "ab" * 200_000, "ab" * 100_000 + "c"
    assert len(store.rows_where(f"instr('{long}' || key, '{almost}') = 1")) == 0
    assert len(store.rows_where(f"trim('{long}' || key, 'ab') = key")) == store.count()


@pytest.mark.parametrize(
    "value", ["mixed", "key", "row * 1.5", "1e300", "x'6b39'", "-9e999", "null"]
)
def test_instr_and_trim_are_those_of_sqlite(store, value):
    with closing(sqlite3.connect(":memory:")) as plain:
        for item in store.items_in_order():
            given = item.fields.get("mixed") if value == "mixed" else None
            known = f"row = {item.row} and "
            if value in ("mixed", "key"):
                texts = [given if value == "mixed" else item.key, "9"]
                values = "?, ?"
            else:
                texts, values = [], f"{value.replace('row', str(item.row))}, '9'"
            for name in ("instr", "trim", "ltrim", "rtrim"):
                (own,) = plain.execute(f"select {name}({values})", texts).fetchone()
                shown = "null" if own is None else own if name == "instr" else "'%s'"
                if isinstance(shown, str) and "%" in shown:
                    shown = "'" + own.replace("'", "''") + "'"
                asked = f"{known} {name}({value}, '9') is {shown}"
                assert len(store.rows_where(asked)) == 1, asked


def test_an_item_of_long_fields_leaves_conditions_as_they_are(store, monkeypatch):
    long = "a" * (3 << 20)
    with store.writing() as writer:
        writer.insert([NewItem("long", bytes(4), json.dumps({"mixed": long}), bytes(16))], None)
    assert len(store.rows_where("mixed = 'nine'")) == 3
    assert len(store.rows_where("key = 'long' and length(mixed) = 3145728")) == 1
    assert len(store.rows_where("mixed like '%aaa'")) == 1


@pytest.mark.parametrize("operator", ["like", "glob"])
def test_a_long_pattern_meets_no_long_text(store, operator):
    """SQLite can be stopped between two steps only, and in one it compares both."""
    with store.writing() as writer:
        fields = json.dumps({"mixed": "a" * 640_000})
        writer.insert([NewItem("long", bytes(4), fields, bytes(16))], None)
    every = "%" if operator == "like" else "*"
    with pytest.raises(UsageError, match="A pattern may have"):
        store.rows_where(f"mixed {operator} '{every}{'a' * 990}b'")
    assert len(store.rows_where(f"mixed {operator} '{every}{'a' * 20}'")) == 1
    assert len(store.rows_where(f"key = 'k1' and key {operator} 'k{every}'")) == 1


def test_a_long_pattern_is_fine_for_short_texts(store):
    assert len(store.rows_where(f"not key like '%{'a' * 990}b'")) == len(store.rows_where("1"))


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("mixed = 'it''s'", lambda one: one == "it's"),
        ("mixed = 'a \"b\"'", lambda one: one == 'a "b"'),
        ("mixed = '[x]' -- )", lambda one: one == "[x]"),
        ("mixed /* ) ; */ = '%'", lambda one: one == "%"),
        ('"mixed" = 9', lambda one: one in (9, 9.0) and one is not True),
        ("`mixed` = [mixed] and mixed = 'größe'", lambda one: one == "größe"),
        ("MIXED is null", lambda one: one is None),
        ("mixed in ('9', 'nine')", lambda one: one in ("9", "nine")),
    ],
)
def test_quotes_and_remarks_mean_what_they_mean_in_sql(store, condition, matches):
    items = store.items_in_order()
    expected = [item.row for item in items if matches(item.fields.get("mixed"))]
    assert store.rows_where(condition).tolist() == expected


def conditions():
    literals = [
        "null",
        "1",
        "0",
        "9",
        "9.0",
        "9.5",
        "'9'",
        "''",
        "'nine'",
        "'it''s'",
        "-1",
        "1e300",
    ]
    for operator, literal in itertools.product(["=", "<", ">=", "<>", "is", "is not"], literals):
        yield f"mixed {operator} {literal}"
    yield from (
        "mixed is null", "mixed is not null", "mixed in (1, '9', 'nine')", "not mixed",
        "mixed between 0 and 9", "mixed like 'NI%'", "mixed glob 'n*'", "typeof(mixed) = 'text'",
        "mixed = 9 or mixed = 'nine'", "mixed = \"or der\"", "mixed > \"or der\"",
        "mixed = 9 and \"or der\" = 9.5", "upper(mixed) = 'NINE'", "mixed collate nocase = 'nine'",
        "coalesce(mixed, 'none') = 'none'", "length(mixed) > 3", "mixed + 0 = 9",
        "row in (select max(row, 0) from items where key = 'k3')", "cast(mixed as text) = '9'",
        "mixed || '' = '9'", "mixed = (select 'nine')", "abs(mixed) = 1",
    )  # fmt: skip


def test_an_index_on_a_field_changes_no_answer(store):
    without = {}
    for condition in conditions():
        try:
            without[condition] = store.rows_where(condition).tolist()
        except UsageError as error:
            without[condition] = str(error)
    assert sum(isinstance(rows, list) and bool(rows) for rows in without.values()) > 60
    with store.writing() as writer:
        writer.index_field("mixed")
    for condition, rows in without.items():
        try:
            assert store.rows_where(condition).tolist() == rows, condition
        except UsageError as error:
            assert str(error) == rows
    with store.writing() as writer:
        writer.insert([NewItem("new", bytes(4), '{"mixed":"nine"}', bytes(16))], None)
        writer.delete_rows([1])
        writer.change_fields([(2, '{"mixed":"nine"}')])
    expected = [i.row for i in store.items_in_order() if i.fields.get("mixed") == "nine"]
    assert store.rows_where("mixed = 'nine'").tolist() == expected
    assert 2 in expected
    assert list(store.problems()) == []


def plan(store, condition):
    sql = f"explain query plan {where_sql(store.field_names(), condition)}"
    with closing(sqlite3.connect(store.path)) as connection:
        return " ".join(str(step[3]) for step in connection.execute(sql))


@pytest.mark.parametrize("name", ["mixed", "or der"])
def test_a_condition_uses_the_index_on_its_field(store, name):
    condition = f"\"{name}\" = 'nine'"
    assert "field:" not in plan(store, condition)
    with store.writing() as writer:
        writer.index_field(name.upper())
    for asked in (condition, f'"{name}" between 3 and 5', f"{condition} and key > 'a'"):
        assert f"INDEX field:{name}" in plan(store, asked)
    assert store.indexed_fields() == [name]


def test_a_field_may_be_called_what_is_looked_for_in_the_schema(store):
    with store.writing() as writer:
        writer.note_fields(["create virtual table", "trigger"])
        writer.index_field("create virtual table")
        writer.index_field("trigger")
    with closing(ItemStore.open(store.path)) as again:
        assert again.indexed_fields() == ["create virtual table", "trigger"]


def test_names_with_quotation_marks_can_be_indexed(store):
    with store.writing() as writer:
        writer.insert([NewItem("x", bytes(4), '{"it\'s":5}', bytes(16))], None)
        writer.note_fields(["it's"])
        writer.index_field("it's")
        writer.index_field("it's")
    assert store.indexed_fields() == ["it's"]
    assert "field:it's" in plan(store, '"it\'s" = 5')
    assert len(store.rows_where('"it\'s" = 5')) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "create trigger t after delete on items begin update items set fields = '{}'; end",
        "create view v as select 1",
        "create virtual table v using fts5(x)",
    ],
)
def test_what_could_act_by_itself_is_found_on_opening(store, statement):
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(DamagedIndexError):
        ItemStore.open(store.path)


def test_an_unknown_field_cannot_be_indexed(digits_index):
    with pytest.raises(UsageError, match="'shape'.*label"):
        digits_index.index_field("shape")
    for wrong in ("key", "", None, 3):
        with pytest.raises(UsageError):
            digits_index.index_field(wrong)


def test_what_was_added_is_told_before_a_field_is_missed(run, tmp_path):
    np.save(tmp_path / "c.npy", np.zeros((3, 8), np.uint8))
    out = run("index", "--codes", "c.npy", "-i", "./i", "--field-index", "lable")
    assert out.returncode == 2
    assert out.stderr.index("3 added") < out.stderr.index("'lable'")


def test_field_indexes_from_the_shell(run, make_index):
    path = make_index("digits")
    with hashret.open(path) as index:
        expected = [item.key for item in index.items(where="label = 3")]
    out = run("index", "-i", path, "--field-index", "label")
    assert (out.returncode, out.stdout) == (0, "")
    assert json.loads(run("info", "-i", path, "--json").stdout)[0]["field_indexes"] == ["label"]
    listed = run("items", "-i", path, "--where", "label = 3", "--nl").stdout.splitlines()
    assert [json.loads(line)["key"] for line in listed] == expected
    assert run("verify", "-i", path).returncode == 0
    unknown = run("index", "-i", path, "--field-index", "shape")
    assert (unknown.returncode, "label" in unknown.stderr) == (2, True)
    nothing = run("index", "-i", path)
    assert (nothing.returncode, "SOURCE" in nothing.stderr) == (2, True)
    missing = run("index", "-i", path.parent / "none", "--field-index", "label")
    assert missing.returncode == 1


def test_filtered_queries_stay_exact_with_an_index(vectors_index, vectors):
    vectors_index.add([(str(i), v, {"half": i % 2}) for i, v in enumerate(vectors)])
    before = [hit.key for hit in vectors_index.query(vectors[3], limit=50, where="half = 1")]
    vectors_index.index_field("half")
    assert [h.key for h in vectors_index.query(vectors[3], limit=50, where="half = 1")] == before
    assert all(int(key) % 2 for key in before)
    assert np.all(np.diff([h.distance for h in vectors_index.query(vectors[3], limit=50)]) >= 0)


@pytest.fixture
def hundred(tmp_path):
    codes = np.random.default_rng(1).integers(256, size=(100, 4), dtype=np.uint8)
    fields = [{"made": "2020-01-01" if row % 2 else "2999-01-01"} for row in range(100)]
    with hashret.create_from_codes(tmp_path / "hundred", codes, None, fields) as index:
        yield index


def test_a_condition_is_asked_anew_once_the_index_has_changed(hundred):
    def keys():
        return [hit.key for hit in hundred.query_key("7", 32, None, where="made < '2100'")]

    before = keys()
    assert len(before) == 50
    assert keys() == before
    hundred.remove(before[1])
    assert keys() == [before[0], *before[2:]]


def test_a_condition_is_evaluated_once_in_a_state_unless_it_tells_the_time(hundred, monkeypatch):
    asked = []
    store = type(hundred.reader.store)
    rows_where = store.rows_where
    monkeypatch.setattr(
        store, "rows_where", lambda self, where: asked.append(where) or rows_where(self, where)
    )
    for _ in range(3):
        hundred.query_key("7", where="made < '2100'")
        hundred.query_key("7", where="made < date('now')")
    assert asked.count("made < '2100'") == 1
    assert asked.count("made < date('now')") == 3


def test_a_condition_is_given_up_when_patience_ends(digits_index):
    slow = " or ".join(f"key like '%{'%'.join('abcdefghij')}%{n}%'" for n in range(400))
    with patience(0.0), pytest.raises(hashret.UsageError, match="too long"):
        digits_index.query_key("1", where=slow)
    assert len(digits_index.query_key("1", where="label >= 0")) == 10
