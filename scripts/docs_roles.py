"""For mkdocs: show Sphinx's roles in docstrings, such as :class:`~hashret.Hit`, as plain code."""

from __future__ import annotations

import re
from typing import Any

ROLE = re.compile(r":(?:attr|class|exc|func|meth|mod):<code>(~?)([\w.]+)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs with the HTML of each page."""

    def code(found: re.Match[str]) -> str:
        name = found[2].rsplit(".", 1)[-1] if found[1] else found[2]
        return f"<code>{name}</code>"

    return ROLE.sub(code, html)
