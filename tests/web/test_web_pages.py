"""The pages as they are sent: twins, addresses, errors; and one answer as a file."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image
from served import copied, serving

import hashret
from hashret.codes import flip, to_hex, unpack
from hashret.progress import Progress
from hashret.web.answers import answer_view
from hashret.web.background_studies import Studies, Study
from hashret.web.problems import Problem
from hashret.web.search_state import SearchState, condition_of
from hashret.web.study_views import outliers_view
from hashret.web.thumbnails import Thumbnails


@pytest.fixture(scope="module")
def folders(_trained, tmp_path_factory):
    home = tmp_path_factory.mktemp("pages")
    return {path.name: path for path in copied(_trained, home, "digits", "vectors", "photos")}


@pytest.fixture(scope="module")
def server(folders):
    with serving(*(word for path in folders.values() for word in ("-i", path))) as server:
        yield server


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.found += [value for name, value in attributes if name in ("href", "src") and value]


def links_of(page: str) -> list[str]:
    parser = _Links()
    parser.feed(page)
    return parser.found


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def comparable(view: dict) -> dict:
    return {name: value for name, value in view.items() if name not in ("stats", "reconstruction")}


PLACES = ["/", "/digits/", "/digits/?key=5&flip=3", "/digits/about", "/digits/duplicates?radius=2"]


@pytest.mark.parametrize("place", PLACES)
def test_every_page_has_a_twin_and_no_broken_link(server, place):
    page = server.get(place)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = links_of(page.text)
    twin = next(link for link in links if ".json" in link and "openapi" not in link)
    assert server.get(twin).headers["content-type"] == "application/json"
    assert server.get(twin).json()
    for link in set(links):
        if link.startswith("/") and "outliers" not in link:
            assert server.get(link).status_code == 200, link


def test_the_twin_of_a_search_is_the_answer_of_the_index(server, folders):
    with hashret.open(folders["digits"]) as index:
        plain = index.query_key("5", radius=20, limit=7, where="label < 5")
        turned = index.query_code(flip(index["5"].code, [0, 63]), limit=48)
    told = server.get("/digits/query.json?key=5&radius=20&limit=7&where=label+<+5").json()
    assert comparable(told["answer"]) == comparable(answer_view(plain))
    told = server.get("/digits/query.json?key=5&flip=63,0").json()
    assert comparable(told["answer"]) == comparable(answer_view(turned))
    assert told["flips"] == [0, 63]
    assert told["query_code"] == to_hex(plain.code)


def test_the_other_twins_are_what_the_index_says(server, folders):
    with hashret.open(folders["digits"]) as index:
        groups = index.duplicates(2, where="label < 5")
        codes = np.stack([item.code for item in index.items()])
        worst = index.outliers(limit=5)
    told = server.get("/digits/duplicates.json?radius=2&where=label+<+5").json()
    assert told["n_groups"] == len(groups) > 0
    assert [item["key"] for item in told["groups"][0]["items"]] == [one.key for one in groups[0]][
        :16
    ]
    told = server.get("/digits/about.json").json()["codes"]
    assert told["shares"] == np.round(unpack(codes).mean(axis=0), 4).tolist()
    assert sum(line["items"] for line in told["buckets"]) == len(codes)
    assert sum(line["buckets"] for line in told["buckets"]) == len(np.unique(codes, axis=0))
    for _ in range(60):
        answer = server.get("/digits/outliers.json")
        if answer.status_code != 202:
            break
        threading.Event().wait(0.5)
    assert [one["key"] for one in answer.json()["outliers"][:5]] == [one.key for one in worst]


def test_a_picture_that_is_sent_becomes_an_address(server, digits, folders):
    with hashret.open(folders["digits"]) as index:
        code = to_hex(index.encode([digits[310]])[0])
    files, cut = {"image": png(digits[310])}, {"radius": "9", "where": "label < 5"}
    answer = server.post("/digits/query", None, files=files, data=cut)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/digits/?code={code}&radius=9&where=label+%3C+5"
    numbers = {"vector": " ".join(["0.5"] * 12), "where": ""}
    answer = server.post("/vectors/query", None, data=numbers)
    assert re.fullmatch(r"/vectors/\?code=[0-9a-f]{8}", answer.headers["location"])
    for wrong in ({"image": b""}, {"image": b"no picture"}):
        answer = server.post("/digits/query", None, files=wrong)
        assert answer.status_code == 422
        assert 'class="problem"' in answer.text


@pytest.mark.parametrize(
    ("place", "status", "words"),
    [
        ("/nope/", 404, "no index"),
        ("/nope", 404, "no index"),
        ("/digits/?key=nope", 404, "No item"),
        ("/digits/?key=1&code=00", 422, "key and code"),
        ("/digits/?code=zz", 422, "code"),
        ("/digits/?key=1&flip=x", 422, "bit"),
        ("/digits/?key=1&flip=64", 422, "no bit 64"),
        ("/digits/?key=1&flip=0000064", 422, "no bit 64"),
        ("/digits/?key=1&radius=-1", 422, "radius"),
        ("/digits/?key=1&limit=1001", 422, "limit"),
        ("/digits/?limit=x", 422, "limit"),
        ("/digits/?where=nothing+%3D+1", 422, "nothing"),
        ("/digits/?key=1&where=1;drop+table+items", 422, "condition"),
        ("/digits/?text=words", 422, "images"),
        ("/digits/?key=1&order=certainty", 422, "logits"),
        ("/digits/duplicates?radius=9", 422, "8 bits"),
        ("/digits/duplicates?where=nothing+%3D+1", 422, "nothing"),
    ],
)
def test_errors_are_pages_with_a_remedy(server, place, status, words):
    answer = server.get(place)
    assert answer.status_code == status
    assert words in answer.text
    assert 'class="problem"' in answer.text
    assert "/tmp" not in answer.text
    if "?" in place:
        there, _, query = place.partition("?")
        twin = server.get(f"{there}{'query' * there.endswith('/')}.json?{query}")
        assert twin.status_code == status
        assert twin.json()["error"]["remedy"]


def test_a_key_that_is_not_there_is_named_and_others_are_offered(server):
    page = server.get("/digits/?key=no+such").text
    assert "No item of this index has the key &#39;no such&#39;" in page
    assert page.count('class="hit"') == 24
    assert re.search(r'<details class="other" open>', page)


def test_a_condition_that_cannot_be_used_stays_and_can_be_dropped(server):
    page = server.get("/digits/?key=7&limit=9&where=lable+%3D+7").text
    assert '<input id="where" name="where"' in page
    assert 'value="lable = 7"' in page
    assert 'value="9"' in page
    assert "./?key=7&limit=9" in map(html.unescape, links_of(page))


def test_where_an_index_lies_is_not_told(server, folders):
    answer = server.get("/digits/query.json?key=5&rerank=true")
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("digits keeps no vectors")
    assert "--keep-vectors" in answer.json()["error"]["remedy"]
    assert str(folders["digits"].parent) not in answer.text


def test_the_button_of_a_bit_takes_off_what_orders_the_hits_of_a_value(server):
    moved = server.get("/digits/?key=5&limit=7&rerank=true&order=certainty&toggle=3")
    assert moved.headers["location"] == "/digits/?key=5&flip=3&limit=7"
    moved = server.get("/digits/?key=5&order=key&flip=3,4&toggle=3")
    assert moved.headers["location"] == "/digits/?key=5&flip=4&order=key"


def test_a_start_with_a_condition_tells_how_many_hold(server, folders):
    with hashret.open(folders["digits"]) as index:
        some, total = len(index.items(where="row < 8")), len(index)
    place = "/digits/?where=row+%3C+8"
    assert f"Items with this <small>{some} of {total}</small>" in server.get(place).text
    assert "the first 24" in server.get("/digits/?where=row+%3E+0").text


def test_the_slider_reaches_what_was_asked_for_and_what_is_shown(server):
    def slider(place):
        tag = re.search(r'<input id="slider"[^>]*>', server.get(place).text)[0]
        return [int(re.search(rf'{name}="(\d+)"', tag)[1]) for name in ("max", "value")]

    assert slider("/digits/?key=5&limit=2") == [25, 25]
    assert slider("/digits/?key=5&limit=2&radius=40") == [41, 40]
    assert slider("/digits/?key=5&limit=2&radius=64") == [65, 64]
    rings = server.get("/digits/query.json?key=5&limit=1000").json()["answer"]["rings"]
    assert slider("/digits/?key=5&limit=1000") == [rings[-1]["distance"] + 1] * 2


def test_duplicates_within_a_bit_more_keep_the_condition(server):
    # One item alone has no duplicates, however far.
    one = "key = '5' and label < '&\"'"
    for radius, more in ((0, 1), (7, 8)):
        page = server.get("/digits/duplicates", params={"radius": radius, "where": one})
        assert "Allow one bit more" in page.text
        link = next(link for link in links_of(page.text) if f"radius={more}" in link)
        assert parse_qs(link[1:]) == {"radius": [str(more)], "where": [one]}
    page = server.get("/digits/duplicates", params={"radius": 8, "where": one})
    assert page.status_code == 200
    assert "Allow one bit more" not in page.text


def test_no_answer_says_where_files_lie(tmp_path, image_folder):
    pictures = tmp_path / "pictures"
    shutil.copytree(image_folder, pictures)
    with hashret.create(tmp_path / "x", pictures, n_bits=16, epochs=1, random_state=0) as index:
        keys = [item.key for item in index.items(2)]
        shutil.rmtree(pictures)
        for key, make in ((keys[0], None), (keys[1], pictures / keys[1])):
            if make is not None:
                make.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 77).save(make)
            with pytest.raises(Problem) as found:
                Thumbnails().of(index, "x", key, 64)
            assert found.value.status == 404
            assert str(tmp_path) not in found.value.message
        with pytest.raises(hashret.InputError) as refused:
            outliers_view(index, lambda _: None)
        assert str(tmp_path) not in str(refused.value)


def test_a_process_ends_though_a_study_goes_on():
    script = """if True:
        import asyncio, threading
        from hashret.web.background_studies import Studies
        studies = Studies()
        asyncio.run(studies.found("x", lambda _: threading.Event().wait(), 0))
        studies.close()
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, '"label" = 1'),
        ('"label" = 1', None),
        ('"label" = 12', '("label" = 12) and "label" = 1'),
        ('("label" = 12) and "label" = 1', None),
        ('(("label" = 1) and "x" = 2) and "y" = 3', None),
        ('("x" = 2) or ("label" = 1)', '(("x" = 2) or ("label" = 1)) and "label" = 1'),
        ("label = 2 -- x", '(label = 2) and "label" = 1'),
        ("label = '--' /* ( */", "(label = '--') and \"label\" = 1"),
    ],
)
def test_a_click_adds_a_condition_that_does_not_hold_yet(where, expected):
    state = SearchState.of({} if where is None else {"where": where})
    address = state.with_condition("label", 1)
    assert (address and parse_qs(address[3:])["where"][0]) == expected


def test_addresses_are_tidied(server):
    for place, there in {
        "/digits": "/digits/",
        "/digits?key=1": "/digits/?key=1",
        "/digits/?key=1&where=&radius=": "/digits/?key=1",
        "/digits/?key=1&flip=4&toggle=3": "/digits/?key=1&flip=3%2C4",
        "/digits/?key=1&flip=4&toggle=4": "/digits/?key=1",
        "/digits/?key=1&flip=4&toggle=0000003": "/digits/?key=1&flip=3%2C4",
        "/digits/query?key=1": "/digits/?key=1",
        "/indexes": "/",
    }.items():
        answer = server.get(place)
        assert answer.status_code in (303, 308), place
        assert answer.headers["location"] == there


def test_only_known_files_are_served(server, folders, tmp_path):
    secret = tmp_path / "secret.svg"
    secret.write_text("secret")
    plots = folders["digits"] / "plots"
    plots.mkdir()
    (plots / "radius.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (plots / "bits.svg").symlink_to(secret)
    (plots / "other.svg").write_text("other")
    answer = server.get("/digits/plots/radius.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "plots/radius.svg" in server.get("/digits/about").text
    for name in ("bits.svg", "other.svg", "radius.png", "..%2fitems.db", "%2e%2e/items.db"):
        assert server.get(f"/digits/plots/{name}").status_code == 404, name
    (plots / "bits.svg").unlink()  # with which nobody could open the index
    for name in ("templates/layout.html", "..%2fpages.py", "hashret.js.map"):
        assert server.get(f"/static/{name}").status_code == 404, name


def test_no_page_holds_a_script_or_a_style_of_its_own(server):
    for place in (*PLACES, "/nope/", "/digits/?key=nope"):
        text = server.get(place).text
        assert not re.search(r"<script(?! src=\"/static/)", text), place
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), place


# The state of a search


def test_a_state_survives_its_address():
    values = {"key": "a&b=c #", "flip": "1,9", "radius": "3", "where": "x = 'ü'", "limit": "5"}
    state = SearchState.of(values)
    assert state.values() == values
    assert SearchState.of({"key": "k", "flip": "9,1,9", "nonsense": "1"}).values() == {
        "key": "k",
        "flip": "1,9",
    }
    assert state.address(radius=None).count("radius") == 0
    assert "flip" not in state.address(key="other")
    assert "radius=3" in state.address(key="other")


@pytest.mark.parametrize(
    ("name", "value", "condition"),
    [
        ("label", 9, '"label" = 9'),
        ("a b", "it's", "\"a b\" = 'it''s'"),
        ("x", 1.5, '"x" = 1.5'),
        ("x", True, '"x" = 1'),
        ("x", None, '"x" is null'),
        ("x", float("inf"), None),
        ("x", 1 << 80, None),
        ("x", "line\nbreak", None),
        ("x", [1], None),
        ("x\n", 1, None),
        ("x", "y" * 201, None),
    ],
)
def test_a_condition_for_a_field(name, value, condition):
    assert condition_of(name, value) == condition


def test_conditions_of_fields_find_their_items(tmp_path):
    fields = [{"a b": "it's"}, {"a b": 'say "so"'}, {"a b": True}, {"a b": 0.1}, {"a b": -7}]
    items = [(str(n), np.eye(8)[n].tolist(), one) for n, one in enumerate(fields)]
    items += [(f"more {n}", np.random.default_rng(n).normal(size=8), {}) for n in range(40)]
    options = {"n_bits": 8, "epochs": 1, "random_state": 0}
    with hashret.create(tmp_path / "x", items, **options) as index:
        for number, one in enumerate(fields):
            found = index.items(where=condition_of("a b", one["a b"]))
            assert [item.key for item in found] == [str(number)]


# Studies


def test_a_study_is_done_once_and_tells_how_far_it_is():
    import asyncio

    studies, go, calls = Studies(), threading.Event(), []

    def work(progress):
        calls.append(1)
        progress(Progress("reading", 3, 10))
        go.wait(20)
        return {"found": 1}

    async def ask():
        first = await studies.found("a", work, 0.2)
        assert isinstance(first, Study)
        assert first.progress.done == 3
        go.set()
        assert await studies.found("a", work, 20) == {"found": 1}
        return await studies.found("a", work, 0)

    assert asyncio.run(ask()) == {"found": 1}
    assert len(calls) == 1
    studies.close()


def test_a_study_that_failed_is_begun_anew():
    import asyncio

    studies, calls = Studies(), []

    def work(_):
        calls.append(1)
        if len(calls) == 1:
            raise hashret.HashretError("once")
        return {}

    async def ask():
        with pytest.raises(hashret.HashretError, match="once"):
            await studies.found("a", work, 20)
        return await studies.found("a", work, 20)

    assert asyncio.run(ask()) == {}
    studies.close()


def test_too_many_studies_are_refused_and_the_end_ends_them():
    import asyncio

    studies = Studies()

    def work(progress):
        while True:
            progress(Progress("reading", 1, None))
            threading.Event().wait(0.01)

    async def ask():
        for number in range(4):
            assert isinstance(await studies.found(number, work, 0), Study)
        with pytest.raises(Problem) as refused:
            await studies.found("one more", work, 0)
        assert refused.value.status == 503
        running = await studies.found(0, work, 0)
        studies.close()
        with pytest.raises(Problem):
            running.found.result(20)

    asyncio.run(ask())


# One answer as a file


def test_a_page_in_one_file_holds_the_answer(folders, run, tmp_path, digits):
    Image.fromarray(digits[310]).save(tmp_path / "x.png")
    out = run("query", "x.png", "-i", folders["digits"], "-k", 12, "--html", "a.html", "--json")
    assert out.stderr.endswith("Wrote a.html\n")
    page = html.unescape((tmp_path / "a.html").read_text())
    keys = [row["key"] for row in json.loads(out.stdout)]
    assert re.findall(r'data-rank="\d+" data-key="([^"]+)"', page) == keys
    pictures = [link for link in links_of(page) if not link.startswith("#")]
    assert len(pictures) == 12 + 2  # the query and its reconstruction
    assert all(link.startswith("data:image/png;base64,") for link in pictures)
    assert all(base64.b64decode(link.partition(",")[2]) for link in pictures)
    assert "default-src 'none'" in page
    assert page.count("<script>") == page.count("</script>") == 1


def test_a_page_in_one_file_is_written_whole_or_not_at_all(folders, run, tmp_path):
    (tmp_path / "a.html").write_text("before")
    for arguments, code in (
        (["--key", "nope", "--html", "a.html"], 1),
        (["--key", "1", "--html", "missing/a.html"], 1),
        (["--key", "1", "--html", "a.txt"], 2),
        (["-", "--html", "a.html"], 2),
    ):
        out = run("query", "-i", folders["digits"], *arguments)
        assert out.returncode == code, arguments
        assert out.stderr.startswith("Error: ")
    assert (tmp_path / "a.html").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html"]


# Texts


def test_texts_are_the_beginnings_of_what_was_indexed(tmp_path, monkeypatch):
    from hashret.web import item_texts

    words = ["chess game", "look at photos", "recover deleted files"]
    texts = [f"{words[number % 3]} {number} " + "x" * 500 for number in range(60)]
    lines = [{"id": f"t{number}", "text": text} for number, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = {"n_bits": 16, "epochs": 1, "features": "tfidf", "random_state": 0}
    with hashret.create(tmp_path / "x", tmp_path / "texts.jsonl", **options) as index:
        monkeypatch.setattr(item_texts, "MOST_ROW", 50)
        found = item_texts.texts_of(index, ["t7", "t3", "nothing", "t55"])
        assert found == {key: texts[int(key[1:])][:400] for key in ("t3", "t7")}
        (tmp_path / "texts.jsonl").unlink()
        # What was read of this state stays known, the rest is gone.
        assert item_texts.texts_of(index, ["t7", "t8"]) == {"t7": found["t7"]}
        index.remove("t8")
        assert item_texts.texts_of(index, ["t7"]) == {}
