"""Debian's package descriptions: texts with a section each, as a real corpus to measure on.

`apt-get` fetches the package lists and the English descriptions into a folder of their own; the
system's lists stay as they are.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIN_SECTION = 300
"""Sections with fewer documents are left out."""

MIN_CHARACTERS = 80

SIBLING = re.compile(r"-(dbg|dbgsym|dev|data|doc|docs|common|examples|headers|locales)$")
"""Packages whose description repeats that of the package they belong to."""


@dataclass(frozen=True)
class Descriptions:
    """A corpus.

    Attributes:
        names: of the packages.
        texts: title and long description of each.
        sections: the section each belongs to, its label.
    """

    names: list[str]
    texts: list[str]
    sections: np.ndarray


def descriptions(folder: Path) -> Descriptions:
    """Long descriptions of the packages of this Debian, kept in ``folder`` once fetched."""
    kept = folder / "descriptions.json"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = list(_select(folder))
        kept.write_text(json.dumps(rows))
    rows = json.loads(kept.read_text())
    names, texts, sections = (list(column) for column in zip(*rows, strict=True))
    return Descriptions(names, texts, np.array(sections))


def packages(folder: Path) -> Iterator[dict[str, str]]:
    """Package, summary, section and text of every package that has a description of its own."""
    section_of, text_of = _fetch(folder)
    seen: set[str] = set()
    for name in sorted(text_of.keys() & section_of.keys()):
        text = text_of[name]
        if text and text not in seen:
            seen.add(text)
            summary = text.partition("\n")[0]
            yield {"package": name, "summary": summary, "section": section_of[name], "text": text}


def _fetch(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Section and description of each package."""
    # apt-get takes a relative folder to lie in its own, not in the current one.
    lists = folder.resolve() / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["apt-get", "-qq", "-o", f"Dir::State::Lists={lists}", "-o", "Acquire::Languages=en",
         "update"],
        check=True,
    )  # fmt: skip
    section_of: dict[str, str] = {}
    for path in sorted(lists.glob("*_Packages*")):
        for paragraph in _paragraphs(path):
            section_of[paragraph["Package"]] = paragraph.get("Section", "").split("/")[-1]
    text_of: dict[str, str] = {}
    for path in sorted(lists.glob("*_Translation-en*")):
        for paragraph in _paragraphs(path):
            text_of.setdefault(paragraph["Package"], paragraph.get("Description-en", ""))
    if not text_of:
        raise RuntimeError(f"apt-get brought no package descriptions into {lists}.")
    return section_of, text_of


def _select(folder: Path) -> Iterator[tuple[str, str, str]]:
    section_of, text_of = _fetch(folder)
    chosen: dict[str, tuple[str, str, str]] = {}
    for name in sorted(text_of.keys() & section_of.keys()):
        text = text_of[name]
        if not SIBLING.search(name) and len(text) >= MIN_CHARACTERS:
            chosen.setdefault(text, (name, text, section_of[name]))
    sizes = Counter(section for _, _, section in chosen.values())
    yield from (row for row in chosen.values() if sizes[row[2]] >= MIN_SECTION)


def _paragraphs(path: Path) -> Iterator[dict[str, str]]:
    content = subprocess.run(
        ["/usr/lib/apt/apt-helper", "cat-file", str(path)], check=True, capture_output=True
    ).stdout.decode()
    for block in content.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("\n"):
            if line.startswith(" "):
                # A line of its own full stop is an empty line.
                fields[name] += "\n" + ("" if line.strip() == "." else line[1:])
            elif ": " in line or line.endswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Package" in fields:
            yield fields
