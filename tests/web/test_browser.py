"""The search page in a real browser."""

import base64
import io
import json
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from browsing import Watched, chromium
from PIL import Image
from served import copied, serving

import hashret
from hashret.codes import flip, to_hex

HOSTILE = [
    "<script>window.ran = 1</script>",
    '"><img src=x onerror="window.ran = 1">',
    "'-window.ran=1-'",
    "javascript:window.ran=1",
    "\u202egnp.exe",
    "a\x01b\x1b[31m\x07c",
    "new\nline\ttab",
    "../../api/indexes",
    "k" * 10_000,
    "ключ 鍵 🔑",
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><svg onload=window.ran=1>",
]


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folders(_trained, tmp_path_factory, digits):
    home = tmp_path_factory.mktemp("pages")
    paths = copied(_trained, home, "digits", "vectors", "photos")
    texts = home / "texts.jsonl"
    words = ["chess game against the computer", "look at photos", "recover deleted files", "mail"]
    lines = [
        {"id": f"t{number}", "text": f"{words[number % 4]} number {number % 7}", "kind": number % 4}
        for number in range(120)
    ]
    texts.write_text("\n".join(map(json.dumps, lines)))
    options = {"n_bits": 32, "epochs": 2, "random_state": 0}
    hashret.create(home / "texts", texts, features="tfidf", **options).close()
    items = [
        (key, digits[number], {"<b onclick=x>": key, "n": number})
        for number, key in enumerate(HOSTILE)
    ]
    items += [(f"plain {number}", digits[number], {}) for number in range(20, 60)]
    hashret.create(home / "hostile", items, keep_vectors=True, **options).close()
    codes = np.random.default_rng(0).integers(0, 256, size=(50, 128), dtype=np.uint8)
    hashret.create_from_codes(home / "long", codes, [*map(str, range(50))]).close()
    paths += [home / "texts", home / "hostile", home / "long"]
    return {path.name: path for path in paths}


@pytest.fixture(scope="module")
def server(folders):
    with serving(*(word for path in folders.values() for word in ("-i", path))) as server:
        yield server


@pytest.fixture(scope="module")
def browser(server):
    with chromium() as browser:
        yield browser


@pytest.fixture
def watched(browser, server):
    """A page on which nothing may go wrong."""
    watched = Watched(browser, server.address)
    yield watched
    watched.context.close()
    assert watched.wrong == []


def keys_of(server, name: str, **asked) -> list[str]:
    """The keys that the API answers with."""
    found = server.post(f"/api/{name}/query", json={"limit": 48, **asked}).json()
    return [hit["key"] for ring in found["rings"] for hit in ring["hits"]]


def test_typing_searches(watched, server):
    page = watched.go("/texts/")
    page.locator("#text").press_sequentially("chess game")
    watched.settled()
    assert watched.keys() == keys_of(server, "texts", text="chess game")
    assert "chess game" in page.locator("#results .text").first.inner_text()
    assert parse_qs(urlsplit(page.url).query) == {"text": ["chess game"]}
    assert page.evaluate("document.activeElement.id") == "text"  # and one can type on
    page.locator("#text").press_sequentially(" mail")
    page.keyboard.press("Enter")
    watched.settled()
    assert watched.keys() == keys_of(server, "texts", text="chess game mail")


DROP = """([target, name, data]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, {type: "image/png"}));
  const options = {bubbles: true, cancelable: true};
  if (target === "paste") document.dispatchEvent(
    new ClipboardEvent("paste", {...options, clipboardData: files}));
  else for (const kind of ["dragenter", "dragover", "drop"]) document.querySelector("main")
    .dispatchEvent(new DragEvent(kind, {...options, dataTransfer: files}));
}"""


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_picture_is_looked_for(watched, server, digits, way):
    picture = png(digits[310])
    data = base64.b64encode(picture).decode()
    page = watched.go("/digits/")
    if way == "choose":
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": picture})
    else:
        page.evaluate(DROP, [way, "x.png", data])
    page.wait_for_selector("#results")
    watched.settled()
    assert watched.keys() == keys_of(server, "digits", image=data)
    # It stands beside what its bits keep of it, and after a reload too.
    for _ in range(2):
        assert page.locator("#asked-face img").get_attribute("src").startswith("data:image/png")
        assert page.locator("#kept-face img").count() == 1
        page.reload()


def test_a_drawing_is_looked_for(watched):
    page = watched.go("/digits/")
    page.click("#draw summary")
    box = page.locator("#canvas").bounding_box()
    x, y, side = box["x"], box["y"], box["width"]
    page.mouse.move(x + side / 2, y + side / 5)
    page.mouse.down()
    page.mouse.move(x + side / 2, y + side * 4 / 5, steps=5)
    page.mouse.up()
    page.wait_for_selector("#results")
    watched.settled()
    first = watched.keys()
    page.click("#invert")
    page.mouse.move(x + side / 5, y + side / 5)
    page.mouse.down()
    page.mouse.up()
    watched.settled()
    assert first
    assert watched.keys() != first


def test_a_flipped_bit_shows_other_neighbours(watched, server, folders):
    with hashret.open(folders["digits"]) as index:
        code = index["5"].code
    page = watched.go("/digits/?key=5&limit=10")
    before = watched.keys()
    page.click("#bit-3")
    watched.settled()
    page.click("#bit-40")
    watched.settled()
    turned = to_hex(flip(code, [3, 40]))
    assert watched.keys() == keys_of(server, "digits", code=turned, limit=10) != before
    assert page.locator(".bit.flipped").count() == 2
    assert page.locator("#bit-40").get_attribute("aria-pressed") == "true"
    assert "flipped" in page.locator("#status").inner_text()
    new = page.locator("#results .fresh").evaluate_all("hits => hits.map(h => h.dataset.key)")
    assert set(new) <= set(watched.keys()) - set(keys_of(
        server, "digits", code=to_hex(flip(code, [3])), limit=10
    ))  # fmt: skip
    url = page.url
    page.click("#unflip")
    watched.settled()
    assert watched.keys() == before
    page.goto(url)
    assert page.locator(".bit.flipped").count() == 2


def test_bits_are_walked_and_flipped_by_keys(watched, server, folders):
    with hashret.open(folders["digits"]) as index:
        code = index["5"].code
    page = watched.go("/digits/?key=5")
    page.focus("#bit-0")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", " "):
        page.keyboard.press(key)
    watched.settled()
    assert page.evaluate("document.activeElement.id") == "bit-1"
    assert watched.keys() == keys_of(server, "digits", code=to_hex(flip(code, [1])))
    page.keyboard.press("ArrowDown")
    below = int(page.evaluate("document.activeElement.value"))
    assert below > 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.id") == "bit-63"
    assert page.locator(".bit[tabindex='0']").count() == 1


def test_the_radius_cuts_at_once(watched, server):
    page = watched.go("/digits/?key=5")
    whole = watched.keys()
    asked = len(watched.asked)
    slider = page.locator("#slider")
    slider.fill("9")
    inside = keys_of(server, "digits", key="5", radius=9)
    assert watched.keys() == inside
    assert 0 < len(inside) < len(whole)
    assert len(watched.asked) == asked  # without a request
    assert "radius=9" in page.url
    assert page.locator("#radius-shown").inner_text() == "9 bits"
    slider.fill(slider.get_attribute("max"))
    assert watched.keys() == whole
    page.locator("#limit").fill("3")
    assert watched.keys() == whole[:3]
    assert len(watched.asked) == asked
    page.reload()
    assert watched.keys() == whole[:3]
    page.locator("#limit").fill("60")  # which takes a question
    watched.settled()
    assert watched.keys() == keys_of(server, "digits", key="5", limit=60)
    slider.fill("0")
    page.reload()
    slider.fill("12")
    watched.settled()
    assert watched.keys() == keys_of(server, "digits", key="5", radius=12, limit=60)


def test_more_like_this_and_back(watched, server):
    page = watched.go("/photos/?text=")
    page.wait_for_selector(".start")
    first = page.locator(".hit").nth(4).get_attribute("data-key")
    page.locator(".hit .more").nth(4).click()
    page.wait_for_selector("#results")
    watched.settled()
    assert watched.keys() == keys_of(server, "photos", key=first)
    second = watched.keys()[7]
    page.locator("#results .more").nth(7).click()
    watched.settled()
    assert watched.keys() == keys_of(server, "photos", key=second)
    page.go_back()
    watched.settled()
    assert watched.keys() == keys_of(server, "photos", key=first)


def test_back_brings_the_words_and_the_place(watched):
    page = watched.go("/texts/")
    for words in ("chess", "photos", "mail"):
        page.fill("#text", words)
        page.keyboard.press("Enter")
        watched.settled()
    for words in ("photos", "chess"):
        page.go_back()
        watched.settled()
        assert page.input_value("#text") == words
    keys = watched.keys()
    page.evaluate("scrollTo(0, 900)")
    page.locator("#results .more").nth(9).click()
    watched.settled()
    assert watched.keys() != keys
    assert page.evaluate("scrollY") == 0
    page.go_back()
    watched.settled()
    assert watched.keys() == keys
    assert page.evaluate("scrollY") == 900


def test_reranked_hits_are_one_list_and_a_flip_goes_back_to_rings(watched, server, folders):
    with hashret.open(folders["hostile"]) as index:
        plain = {"limit": 12, "where": "key like 'plain%'"}
        ranked = index.query_key("plain 20", rerank=True, **plain)
        flipped = index.query_code(flip(index["plain 20"].code, [3]), **plain)
    assert [hit.distance for hit in ranked] != sorted(hit.distance for hit in ranked)
    page = watched.go("/hostile/?key=plain+20&limit=12&where=key+like+'plain%25'")
    page.check("#rerank")
    watched.settled()
    assert watched.keys() == [hit.key for hit in ranked]
    told = page.locator("#results .distance").nth(11).inner_text()
    assert told.startswith(f"12. {ranked[11].vector_distance:.4g} apart")
    page.click("#bit-3")
    watched.settled()
    assert watched.keys() == [hit.key for hit in flipped]
    assert "rerank" not in page.url
    assert page.locator(".problem").count() == 0


def test_a_condition_is_applied_when_its_field_is_left_and_mended_where_it_stands(watched, server):
    page = watched.go("/digits/?key=7&limit=20")
    page.locator("#where").press_sequentially("lable = 7")
    page.keyboard.press("Tab")
    page.wait_for_selector(".problem")
    watched.settled()
    assert page.input_value("#where") == "lable = 7"
    page.fill("#where", "label = 7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results")
    watched.settled()
    assert watched.keys() == keys_of(server, "digits", key="7", limit=20, where="label = 7")
    page.goto(server.address + "/digits/?key=7&limit=20&where=lable+%3D+7")
    page.click(".problem a")
    page.wait_for_selector("#results")
    watched.settled()
    assert watched.keys() == keys_of(server, "digits", key="7", limit=20)
    watched.wrong[:] = [one for one in watched.wrong if "422" not in one]


def test_a_limit_that_is_too_large_is_set_right(watched):
    page = watched.go("/digits/?key=7")
    page.fill("#limit", "5000")
    watched.settled()
    page.keyboard.press("Tab")
    assert page.input_value("#limit") == "1000"
    assert "limit=1000" in page.url


def test_a_ring_chip_only_scrolls(watched, server):
    page = watched.go("/digits/?key=5")
    page.locator("#results .more").nth(3).click()
    watched.settled()
    keys, asked = watched.keys(), len(watched.asked)
    chip = page.locator(".overview a").last
    ring = chip.get_attribute("href")
    chip.click()
    page.wait_for_function("scrollY > 0")
    assert page.url.endswith(ring)
    assert page.locator(ring).bounding_box()["y"] < 900
    page.go_back()
    page.go_forward()
    watched.settled()
    assert watched.keys() == keys
    assert len(watched.asked) == asked  # without a request
    page.go_back()
    page.go_back()  # to another answer
    watched.settled()
    assert watched.keys() == keys_of(server, "digits", key="5")
    assert len(watched.asked) == asked + 1


def test_an_address_holds_the_whole_state(watched, browser, server):
    page = watched.go("/digits/?key=7&limit=20&radius=20")
    page.locator("#results .fields a").first.click()
    watched.settled()
    page.click("#bit-9")
    watched.settled()
    page.locator("#slider").fill("17")
    assert parse_qs(urlsplit(page.url).query).keys() == {"key", "flip", "where", "limit", "radius"}
    other = Watched(browser, server.address)
    other.page.goto(page.url)
    assert other.keys() == watched.keys()
    for name in ("#limit", "#where", "#slider"):
        assert other.page.input_value(name) == page.input_value(name)
    twin = page.request.get(page.locator("#twin").evaluate("link => link.href")).json()
    assert [h["key"] for ring in twin["answer"]["rings"] for h in ring["hits"]] == watched.keys()
    other.context.close()


def test_a_plain_query_works_without_scripts(browser, server, digits):
    watched = Watched(browser, server.address, java_script_enabled=False)
    page = watched.go("/texts/")
    page.fill("#text", "look at photos")
    page.click(".words-form .go")
    shown = page.locator("#results .hit").evaluate_all("hits => hits.map(h => h.dataset.key)")
    assert shown == keys_of(server, "texts", text="look at photos")
    page.fill("#radius", "3")
    page.fill("#where", "kind = 1")
    page.click("#refine .go")
    shown = page.locator("#results .hit").evaluate_all("hits => hits.map(h => h.dataset.key)")
    assert shown == keys_of(server, "texts", text="look at photos", radius=3, where="kind = 1")
    page.click("#bit-2")
    assert page.locator(".bit.flipped").count() == 1
    assert "flip=2" in page.url
    page.goto(server.address + "/digits/")
    picture = png(digits[320])
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": picture})
    page.click("#drop .go")
    shown = page.locator("#results .hit").evaluate_all("hits => hits.map(h => h.dataset.key)")
    assert shown == keys_of(server, "digits", image=base64.b64encode(picture).decode())
    watched.context.close()
    assert watched.wrong == []


@pytest.mark.parametrize("width", [390, 320])
def test_the_pages_fit_a_telephone_without_scripts(browser, server, width):
    phone = {"viewport": {"width": width, "height": 844}, "java_script_enabled": False}
    watched = Watched(browser, server.address, **phone)
    for place in ("/digits/", "/vectors/", "/texts/?text=mail", "/digits/?key=5"):
        page = watched.go(place)
        for box in page.locator("#ask button, #ask input").all():
            if found := box.bounding_box():
                assert found["x"] + found["width"] <= width - 8, (place, box)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
    watched.context.close()


@pytest.mark.parametrize("page", ["", "?key=plain+20", "duplicates?radius=8", "outliers", "about"])
def test_hostile_names_are_only_names(watched, page):
    place, page = page, watched.go(f"/hostile/{page}")
    watched.done()
    assert page.evaluate("window.ran") is None
    text = page.inner_text("main")
    assert ("<b onclick=x>" if "about" in place else "<script>window.ran = 1</script>") in text
    assert "\u202e" not in page.content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("number", [*range(len(HOSTILE))])
def test_a_hostile_key_can_be_asked_for(watched, server, number):
    page = watched.go("/hostile/")
    page.locator(".hit .more").nth(number).click()
    page.wait_for_selector("#results")
    watched.settled()
    assert page.evaluate("window.ran") is None
    rows = page.locator("#results .hit").count()
    assert rows == len(keys_of(server, "hostile", key=HOSTILE[number]))
    page.reload()
    assert page.locator("#results .hit").count() == rows


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "place",
    [
        "/",
        "/digits/",
        "/digits/?key=5",
        "/texts/?text=mail",
        "/vectors/?key=3",
        "/digits/about",
        "/digits/duplicates?radius=3",
        "/photos/outliers",
    ],
)
def test_every_page_is_well_formed(browser, server, place, width):
    """It asks nobody else, breaks no policy, fits the screen, and names what can be operated."""
    watched = Watched(browser, server.address, viewport={"width": width, "height": 800})
    page = watched.go(place)
    watched.done()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    nameless = page.eval_on_selector_all(
        "button, input, a[href], summary, canvas",
        """all => all.filter(e => e.checkVisibility() && !(e.labels?.length)
          && !e.innerText.trim() && !e.getAttribute("aria-label")).map(e => e.outerHTML)""",
    )
    assert nameless == []
    assert page.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
                         " === document.querySelectorAll('[id]').length")  # fmt: skip
    assert page.locator("h1").count() == 1
    watched.context.close()
    assert watched.wrong == []


BOXES = """bits => bits.map(bit => bit.getBoundingClientRect())
  .map(box => [box.left, box.top, box.width, box.height])"""


@pytest.mark.parametrize("width", [390, 360, 320])
@pytest.mark.parametrize("place", ["/digits/?key=5", "/vectors/?key=3", "/long/?key=7"])
def test_a_finger_hits_a_bit_and_the_hits_are_near(browser, server, place, width):
    watched = Watched(browser, server.address, viewport={"width": width, "height": 844})
    page = watched.go(place)
    boxes = page.locator(".bit").evaluate_all(BOXES)
    assert min(min(box[2:]) for box in boxes) >= 24
    corners = {(round(left), round(top)) for left, top, _, _ in boxes}
    assert len(corners) == len(boxes)
    first = page.locator("#results .hit").first.bounding_box()
    assert first["y"] + first["height"] < 2 * 844
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    watched.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_long_strip_slides_sideways_says_so_and_stays_where_it_is(browser, server, width):
    watched = Watched(browser, server.address, viewport={"width": width, "height": 844})
    page = watched.go("/digits/?key=5")
    assert not page.get_by_text("slides sideways").is_visible()
    page = watched.go("/long/?key=7")
    assert page.get_by_text("slides sideways").is_visible()
    strip = page.locator(".bits")
    assert strip.evaluate("e => e.scrollWidth > 2 * e.clientWidth")
    assert strip.evaluate("e => e.scrollHeight === e.clientHeight")
    page.click("#bit-1023")
    watched.settled()
    assert page.locator("#bit-1023").get_attribute("aria-pressed") == "true"
    left, _, wide, _ = page.locator("#bit-1023").evaluate_all(BOXES)[0]
    assert 0 < left < left + wide < width
    watched.context.close()
    assert watched.wrong == []


def test_the_colours_are_kept(watched):
    page = watched.go("/digits/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.click("#theme")  # from auto to light
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == dark


def test_an_answer_leaves_what_is_being_typed(watched):
    page = watched.go("/digits/?key=7&where=label+%3D+7")
    page.fill("#where", "label in (1, 2)")
    page.locator("#where").evaluate("field => field.setSelectionRange(5, 5)")
    # As when an answer comes that was asked for before the typing.
    page.evaluate("history.replaceState(null, '', './?key=7&limit=5')")
    page.evaluate("window.dispatchEvent(new PopStateEvent('popstate'))")
    watched.settled()
    assert len(watched.keys()) == 5
    assert page.input_value("#where") == "label in (1, 2)"
    assert page.evaluate("[document.activeElement.id, document.activeElement.selectionStart]") == [
        "where", 5,
    ]  # fmt: skip


def test_errors_are_shown_where_the_answer_would_be(browser, server):
    watched = Watched(browser, server.address)
    page = watched.go("/digits/?key=5")
    page.fill("#where", "nothing = 1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".problem")
    assert "nothing" in page.locator(".problem").inner_text()
    page.goto(server.address + "/digits/?key=no+such")
    assert "No item" in page.locator(".problem h2").inner_text()
    page.goto(server.address + "/digits/?key=5&radius=0&where=label+%3D+77")
    assert "Nothing within 0 bits" in page.locator("#nothing").inner_text()
    page.click("#nothing a >> nth=1")
    watched.settled()
    assert watched.keys()[0] == "5"
    page.route("**/*", lambda route: route.abort())
    page.click("#bit-3")
    page.wait_for_selector(".problem")
    assert "cannot be reached" in page.locator(".problem").inner_text()
    page.unroute("**/*")
    page.click(".problem button")
    watched.settled()
    assert page.locator(".bit.flipped").count() == 1
    watched.context.close()
    assert not [wrong for wrong in watched.wrong if "Failed to load resource" not in wrong]


def test_the_page_in_one_file_needs_nothing(browser, folders, run, tmp_path):
    out = run("query", "--key", HOSTILE[1], "-i", folders["hostile"], "-k", 30, "--html", "a.html")
    assert out.returncode == 0
    with hashret.open(folders["hostile"]) as index:
        result = index.query_key(HOSTILE[1], limit=30)
    watched = Watched(browser, "file:///")
    watched.context.set_offline(True)
    page = watched.go(str(tmp_path / "a.html")[1:])
    assert page.evaluate("window.ran") is None
    assert len(watched.keys()) == 30
    assert page.locator(".hit img").evaluate_all("all => all.every(i => i.naturalWidth > 0)")
    distances = [hit.distance for hit in result]
    middle = distances[10]
    page.locator("#slider").fill(str(middle))
    assert len(watched.keys()) == sum(distance <= middle for distance in distances)
    page.locator("#limit").fill("2")
    assert len(watched.keys()) == 2
    assert len(watched.asked) == 1
    watched.context.close()
    assert watched.wrong == []
