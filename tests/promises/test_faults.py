"""Writers are killed, disks fail, fill up, lose power and rot: nothing is lost, nothing is wrong.

These are the short forms; ``scripts/soak`` runs all of it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from faults import memory
from faults.shim import NoCompilerError, compile_library, environment

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    try:
        return compile_library(tmp_path_factory.mktemp("iofault"))
    except NoCompilerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def laboratory(prepared_encoder):
    """A folder that every user may enter, with the encoder of all experiments."""
    with tempfile.TemporaryDirectory(prefix="hashret-", dir=memory()) as folder:
        place = Path(folder)
        place.chmod(0o755)
        (place / "prepared-encoder").symlink_to(prepared_encoder)
        yield place


@pytest.mark.parametrize(
    ("experiment", "least"),
    [
        ("walk", 300),
        ("kills", 40),
        ("power", 100),
        ("full", 15),
        ("forbidden", 9),
        ("damage", 100),
        ("readers", 100),
    ],
)
def test_whatever_happens(experiment, least, library, laboratory):
    folder = laboratory / experiment
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "faults", experiment, folder],
        cwd=TESTS,
        env=environment(library),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    tally = json.loads(ran.stdout)
    if tally["skipped"]:
        pytest.skip(tally["skipped"])
    assert not tally["failures"], "\n".join(tally["failures"])
    assert tally["trials"] >= least
