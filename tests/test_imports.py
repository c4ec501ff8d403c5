"""What is imported when: a start must be quick, and a query must not need TensorFlow."""

from pathlib import Path

import grimp
import pytest
from import_probe import HEAVY, imported

import hashret


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "index --help",
        "query --help",
        "evaluate --help",
        "plot --help",
        "duplicates --help",
        "export --help",
        "serve --help",
        "--version",
    ],
)
def test_help_imports_next_to_nothing(command):
    code = f"from hashret.cli import cli\ncli.main({command.split()!r}, standalone_mode=False)"
    assert imported(code, *HEAVY, "numpy", "faiss", "PIL", "rich", "sqlite_utils") == []


@pytest.mark.parametrize(
    "command", ["info", "query --key 3", "query PATH", "items", "export -o -", "verify"]
)
def test_these_never_import_tensorflow(make_index, idx_files, command):
    path = make_index("digits")
    arguments = [*command.replace("PATH", f"{idx_files}/test-images-idx3-ubyte#3").split()]
    code = (
        "from hashret.cli import cli\n"
        f"cli.main({[*arguments, '-i', str(path)]!r}, standalone_mode=False)"
    )
    assert imported(code, *HEAVY) == []


def test_importing_hashret_imports_no_library():
    assert imported("import hashret", *HEAVY, "numpy", "faiss", "PIL") == []


def test_the_client_needs_no_extra():
    extra = ("fastapi", "starlette", "uvicorn", "pydantic", "orjson", "prometheus_client", "httpx")
    code = "import hashret\nhashret.Client('http://localhost:1', 'x')"
    assert imported(code, *HEAVY, *extra, "PIL", "faiss") == []


def test_public_names_are_all_there():
    import hashret

    for name in hashret.__all__:
        assert getattr(hashret, name) is not None, name


def circles(graph) -> list[set[str]]:
    """The sets of modules that lead back to each other by imports, those in functions included."""

    def reachable(module, found):
        for other in graph.find_modules_directly_imported_by(module):
            if other not in found:
                found.add(other)
                reachable(other, found)
        return found

    reach = {module: reachable(module, set()) for module in graph.modules}
    own = {module for module in reach if module in reach[module]}
    return [{other for other in reach[module] if module in reach[other]} for module in sorted(own)]


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("hashret")
    assert len(graph.modules) > 250
    assert circles(graph) == []


def test_no_file_name_stands_twice_below_the_root():
    names = [
        path.name
        for path in Path(hashret.__file__).parent.glob("*/*.py")
        if path.name != "__init__.py"
    ]
    assert len(names) > 250
    assert sorted(set(names)) == sorted(names)
