"""``hashret serve``: pages to search with, and an HTTP API."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import index_path, indexes_option
from hashret.errors import HashretError, InputError, UsageError

if TYPE_CHECKING:
    from hashret.web.settings import Settings

TOKEN_VARIABLE = "HASHRET_TOKEN"  # noqa: S105 - its name
CLUSTER_FILE = "cluster.json"
_LEAST_TOKEN = 16
_MOST_WORKERS = 4


@click.command()
@indexes_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8484,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option(
    "--writable", is_flag=True, help="Let who has the token add and remove items through the API."
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File that holds the token, of at least {_LEAST_TOKEN} characters. "
    f"[default: ${TOKEN_VARIABLE}; one is made up where it is needed]",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name of this machine that requests may use, beside its addresses.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of a cluster: readers of each shard, on different nodes.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Of a cluster: the Ray that its readers run on.  [default: $RAY_ADDRESS, or start one]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that answer.  [default: one a core, at most 4]",
)
def serve(
    index_names: tuple[str, ...],
    host: str,
    port: int,
    opens: bool,
    writable: bool,
    token_file: Path | None,
    hosts: tuple[str, ...],
    replicas: int,
    address: str | None,
    workers: int | None,
) -> None:
    """Serve indexes: a page to search with at /, the API under /api, its description /openapi.json.

    A cluster is served as an index is; its readers run on Ray.

    Other machines can reach it with --host only, and need the token then; --writable needs it on
    this one too. What other processes write to the indexes is seen at once.
    """
    places = _by_name(index_names)
    clusters = {name: place for name, place in places.items() if _is_cluster(place)}
    indexes = {name: Path(place) for name, place in places.items() if name not in clusters}
    try:
        from hashret.web.serving import listen
        from hashret.web.serving import serve as run
        from hashret.web.settings import Settings
    except ImportError as error:
        raise HashretError(
            f"Serving needs the extra 'web' ({error.name} is missing): pip install 'hashret[web]'."
        ) from error
    warnings_to_stderr()
    local = _is_local(host)
    token = _given_token(token_file)
    guards_reads = token is not None or not local
    made_up = token is None and (writable or not local)
    settings = Settings(
        indexes=indexes,
        clusters=clusters,
        ray_address=_ray_address(address) if clusters else None,
        replicas=replicas,
        writable=writable,
        token=secrets.token_urlsafe(24) if made_up else token,
        guards_reads=guards_reads,
        hosts=frozenset(name.lower() for name in (host, socket.gethostname(), *hosts)),
    )
    _check_indexes(settings)
    listeners = listen(host, port, workers or min(_MOST_WORKERS, len(os.sched_getaffinity(0))))
    served_at = _address(host, listeners[0])

    def started() -> None:
        if made_up:
            say(f"Token: {settings.token}")
        say(f"Serving {', '.join(places)} at {served_at}/ (end with Ctrl-C)")
        if opens:
            webbrowser.open(f"{served_at}/")

    run(settings, listeners, started)


def _is_cluster(place: str) -> bool:
    from hashret.sources.remote import is_url

    return is_url(place) or (Path(place) / CLUSTER_FILE).is_file()


def _ray_address(address: str | None) -> str:
    """Where the Ray is to which all processes of the server connect, started if need be."""
    from hashret.cluster.connecting import connect

    ray = connect(address)
    found: str = address or ray.get_runtime_context().gcs_address
    return found


def _by_name(names: tuple[str, ...]) -> dict[str, str]:
    """Where indexes and clusters lie, by their own names, which addresses are made of."""
    from hashret.sources.remote import is_url
    from hashret.web.names import RESERVED

    indexes: dict[str, str] = {}
    for given in names or (None,):
        if given is not None and is_url(given):
            path, name = given, given.rstrip("/").rpartition("/")[2]
        else:
            folder = index_path(given).absolute()
            path, name = str(folder), folder.resolve().name
        if name in RESERVED:
            raise UsageError(f"An index named {name!r} cannot be served: rename its folder.")
        if name in indexes:
            raise UsageError(
                f"Two indexes are named {name!r}: {indexes[name]} and {path}. Rename one's folder."
            )
        indexes[name] = path
    return indexes


def _check_indexes(settings: Settings) -> None:
    """Open each once, so that what cannot be served is said now."""
    from hashret.index.index import Index

    for path in settings.indexes.values():
        with Index.open(path) as index:
            len(index)
    for place in settings.clusters.values():
        from hashret.cluster.published import storage_at

        storage_at(place).layout()


def _given_token(file: Path | None) -> str | None:
    if file is not None:
        try:
            token = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The token cannot be read from {file}: {error}.") from error
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return None
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"A token has at least {_LEAST_TOKEN} characters of ASCII and no spaces; "
            "`openssl rand -hex 24` makes one."
        )
    return token


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
