"""Where the values of a table lie: a path, and how it was read where that is not the usual way.

A location is the path of a file, followed by options where the file alone does not tell which of
its values are meant: ``/data/docs.csv?column=title``, ``/data/shop.db?sql=select%20...``. With
``#`` and a position, it names one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode

OPTIONS = ("column", "id_column", "kind", "sql", "encoding", "format")


def with_options(path: str, options: Mapping[str, str]) -> str:
    """A location from the path of a file and what differs from the usual way to read it.

    Example:
        >>> with_options("/docs.csv", {"column": "title"}), with_options("/docs.csv", {})
        ('/docs.csv?column=title', '/docs.csv')
    """
    query = urlencode(options, errors="surrogatepass", quote_via=quote)
    return f"{path}?{query}" if options else path


def shown_location(location: str) -> str:
    """A location as people read it.

    Example:
        >>> shown_location("/shop.db?sql=select%20%2A%20from%20a&column=b")
        '/shop.db (sql: select * from a, column: b)'
    """
    path, options = split_location(location)
    listed = ", ".join(f"{name}: {value}" for name, value in options.items())
    return f"{path} ({listed})" if listed else path


def split_location(location: str) -> tuple[str, dict[str, str]]:
    """The path of a file and its options, which are empty where there are none.

    Example:
        >>> split_location("/docs.csv?column=title")
        ('/docs.csv', {'column': 'title'})
        >>> split_location("/what?.csv")
        ('/what?.csv', {})
    """
    path, _, query = location.rpartition("?")
    options = dict(parse_qsl(query, errors="surrogatepass")) if path else {}
    if not options or not set(options) <= set(OPTIONS):
        return location, {}
    return path, options
