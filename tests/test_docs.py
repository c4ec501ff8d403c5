"""The README: its reference is what --help says, its Python runs, its commands parse."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hashret.cli import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_reference_is_what_help_says():
    out = subprocess.run(
        [sys.executable, ROOT / "scripts/update_readme", "--check"], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr


@pytest.mark.parametrize(
    "command", [*cli.commands.values(), *cli.commands["cluster"].commands.values()]
)
def test_every_command_and_option_has_help(command):
    assert command.help
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


def shell_commands() -> list[str]:
    lines = [
        line[2:] for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "
    ]
    return lines + re.findall(r"`((?:hashret |scripts/|\.venv/bin/python scripts/)[^`]*)`", README)


@pytest.mark.parametrize("line", shell_commands())
def test_commands_in_the_text_exist_and_parse(line):
    words = shlex.split(line, comments=True)
    if words[0] in ("ray", "export"):
        return  # of others
    if words[0] == ".venv/bin/python":
        words = words[1:]
    if words[0].startswith("scripts/"):
        assert (ROOT / words[0]).is_file()
        options = [word for word in words[1:] if word.startswith("--")]
        text = (ROOT / words[0]).read_text()
        assert all(f'"{option}"' in text for option in options)
    elif len(words) > 1 and not words[1].startswith("-"):
        command, rest = cli.commands[words[1]], words[2:]
        while isinstance(command, click.Group) and rest:
            command, rest = command.commands[rest[0]], rest[1:]
        if rest:
            command.make_context(command.name, rest).close()
    else:
        assert words[0] == "hashret"


def test_the_python_in_the_text_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["index"]) == 1500
    assert names["result"][0].distance <= names["result"][-1].distance
    assert names["distances"].shape == (297, 10)
    names["index"].close()


def test_names_of_the_text_are_the_package_s():
    import hashret

    for name in re.findall(r"hashret\.([A-Za-z]+)\b(?!\.)", "".join(blocks("python"))):
        assert hasattr(hashret, name) or importlib.util.find_spec(f"hashret.{name}"), name
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "module",
    [
        "codes",
        "index",
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
