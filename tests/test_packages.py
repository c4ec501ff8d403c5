"""The script that gets Debian's package descriptions, given a folder as people write it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts/get_packages"


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this is no Debian")
def test_packages_come_into_a_relative_folder(tmp_path):
    subprocess.run([sys.executable, SCRIPT, "data/packages.jsonl"], cwd=tmp_path, check=True)
    lines = (tmp_path / "data/packages.jsonl").read_text().splitlines()
    by_name = {package["package"]: package for package in map(json.loads, lines)}
    assert len(by_name) == len(lines) > 10_000
    assert by_name["bash"]["summary"] == "GNU Bourne Again SHell"
    assert by_name["bash"]["section"] == "shells"
    assert "Korn" in by_name["bash"]["text"]


def test_nothing_is_left_where_apt_brings_nothing(tmp_path):
    apt_get = tmp_path / "apt-get"
    apt_get.write_text("#!/bin/sh\n")
    apt_get.chmod(0o755)
    done = subprocess.run(
        [sys.executable, SCRIPT, "data/packages.jsonl"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("No package descriptions: apt-get brought no")
    assert not (tmp_path / "data/packages.jsonl").exists()
