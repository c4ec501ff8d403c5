"""README and docs/: what they say of commands, names and pages is so, and their Python runs."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import hashret
from hashret.cli import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}
OF_OTHERS = {"curl", "export", "pip", "ray"}  # programs that pages name and hashret does not bring


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 200


def test_every_page_is_in_the_site():
    listed = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize(
    ("script", "page"),
    [
        *((path.name, "docs/benchmarks.md") for path in sorted((ROOT / "scripts").glob("bench_*"))),
        ("soak", "docs/benchmarks.md"),
    ],
)
def test_tables_have_their_place(script, page):
    for mark in re.findall(r"<!-- \w+ -->", (ROOT / "scripts" / script).read_text()):
        assert mark in PAGES[page]


def test_the_plan_of_a_cluster_has_its_place():
    assert {"plan_cluster", "check"} <= set(
        re.findall(r"<!-- (\w+) -->", PAGES["docs/clusters.md"])
    )


# The reference


def test_the_reference_is_what_the_code_says():
    out = subprocess.run(
        [sys.executable, ROOT / "scripts/update_docs", "--check"], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr


@pytest.mark.parametrize("name", hashret.__all__)
def test_every_public_name_is_in_the_reference(name):
    page = PAGES["docs/python-reference.md"]
    assert re.search(rf"`hashret\.{name}\b", page) or name == "__version__"
    value = getattr(hashret, name)
    if isinstance(value, type):
        assert f"\n::: hashret.{name}\n" in page + "\n"


@pytest.mark.parametrize(
    "command", [*cli.commands.values(), *cli.commands["cluster"].commands.values()]
)
def test_every_command_and_option_has_help(command):
    assert command.help
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


# Commands


def shell_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        lines = [line for block in blocks(page, "console") for line in block.splitlines()]
        found += [(page, line[2:]) for line in lines if line.startswith("$ ")]
        inline = r"`((?:hashret |scripts/|\.venv/bin/python scripts/)[^`]*)`"
        if page not in ("CHANGELOG.md", "docs/python-reference.md"):  # of the past, and by halves
            found += [(page, line) for line in re.findall(inline, prose(page))]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("page", "line"), shell_commands())
def test_commands_in_the_text_exist_and_parse(page, line):
    words = shlex.split(line, comments=True)
    words = words[: words.index("|")] if "|" in words else words
    if words[0] in OF_OTHERS:
        return
    if words[0] == ".venv/bin/python":
        words = words[1:]
    if words[0].startswith("scripts/"):
        assert (ROOT / words[0]).is_file()
        options = [word for word in words[1:] if word.startswith("--")]
        text = (ROOT / words[0]).read_text()
        assert all(f'"{option}"' in text for option in options)
    elif len(words) > 1 and not words[1].startswith("-"):
        assert words[0] == "hashret"
        command, rest = cli.commands[words[1]], words[2:]
        while isinstance(command, click.Group) and rest:
            command, rest = command.commands[rest[0]], rest[1:]
        if rest:
            command.make_context(command.name, rest).close()
    else:
        assert words[0] == "hashret"


# Python


@pytest.fixture
def short_learning(monkeypatch):
    """Few steps of learning: the pages are run for what they call, not for what they find."""
    monkeypatch.setattr("hashret.encoder.recipe.DEFAULT_STEPS", 1)


@pytest.mark.usefixtures("short_learning")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_in_the_text_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    for value in names.values():
        if isinstance(value, hashret.Index):
            value.close()
    if page == "docs/getting-started.md":
        assert len(hashret.open("indexes/digits")) == 1500
        assert names["result"][0].distance <= names["result"][-1].distance
    if page == "docs/vectors-and-codes.md":
        assert names["distances"].shape == (100, 10)


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_text_are_the_package_s(page):
    text = "".join(blocks(page, "python") + blocks(page, "py"))
    text += " ".join(re.findall(r"`([^`\n]*)`", prose(page)))
    for name in re.findall(r"(?<![/\w])hashret\.([A-Za-z_]+)\b(?![./])", text):
        assert hasattr(hashret, name) or importlib.util.find_spec(f"hashret.{name}"), name


# Links


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def anchors(page: str) -> set[str]:
    """As GitHub makes them; the site makes the same of headings of words alone."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings(page)}


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_headings_make_the_same_anchors_everywhere(page):
    titles = headings(page)
    assert len({title.lower() for title in titles}) == len(titles)
    assert all(re.fullmatch(r"[\w\-,.?: ]+", title) for title in titles)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert page.startswith("docs/") <= target.is_relative_to(ROOT / "docs"), link
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), link


@pytest.mark.parametrize(
    "module",
    [
        "codes",
        "index.index",
        "search",
        "search.code_index",
        "search.components",
        "sources.array_files",
        "sources.columns",
        "sources.item",
        "sources.locations",
        "sources.opening",
        "sources.tables",
        "features.kinds",
    ],
)
def test_examples_in_docstrings_are_true(module, tmp_path, monkeypatch):
    import doctest
    import importlib

    monkeypatch.chdir(tmp_path)
    loaded = importlib.import_module(f"hashret.{module}")
    found = doctest.testmod(loaded)
    assert found.failed == 0
    assert found.attempted > 0
