"""What a server says while it makes ready."""

import logging
import threading

import pytest

from hashret.search import engine
from hashret.web import warming
from hashret.web.served import Served
from hashret.web.settings import Settings


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.something = threading.Event()

    def emit(self, record) -> None:
        self.lines.append(record.getMessage())
        self.something.set()


@pytest.fixture
def said():
    handler = _Said()
    logger = logging.getLogger(warming.PROGRESS)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def served(make_index, monkeypatch):
    monkeypatch.setattr(warming, "WORTH_COMPILING_ITEMS", 1)
    return Served(Settings({name: make_index(name) for name in ("digits", "vectors")}))


@pytest.mark.parametrize("tells", [True, False])
def test_one_line_says_that_the_search_is_compiled(served, said, monkeypatch, tells):
    def compiles(engine):
        if engine is not None:
            said.something.wait(20 if tells else 0.2)

    monkeypatch.setattr(engine, "use", compiles)
    monkeypatch.setattr(warming, "PATIENCE_SECONDS", 0.01)
    warming.warm(served, tells=tells)
    assert len(said.lines) == tells
    assert all("compiled once on a machine" in line for line in said.lines)


def test_nothing_is_said_where_it_is_soon_ready(served, said, monkeypatch):
    monkeypatch.setattr(engine, "use", lambda _: None)
    monkeypatch.setattr(warming, "PATIENCE_SECONDS", 600.0)
    before = set(threading.enumerate())
    warming.warm(served)
    for late in set(threading.enumerate()) - before:
        late.join(20)
        assert not late.is_alive()
    assert not said.lines
