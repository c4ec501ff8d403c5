"""Opening a cluster from where it lies, and from a machine that sees nothing of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster_fixtures import made_index, split

import hashret
from hashret.cluster.connecting import split_address

ASK = """
import json, sys
import hashret
with hashret.open(sys.argv[1]) as cluster:
    found = cluster.query_key(sys.argv[2], limit=20)
    again = cluster.query_many([[0.5] * 6] * 3, limit=4)
    told = [cluster.path, len(cluster), [[hit.key, hit.distance] for hit in found]]
    told.append([[[hit.key, hit.distance] for hit in one] for one in again])
try:
    hashret.open(sys.argv[1] + "-nowhere")
except hashret.IndexNotFoundError as error:
    told.append(str(error))
print(json.dumps(told))
"""

ENTER = """
import contextlib, os, sys
import ray
with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
    ray.init(sys.argv[1])
"""


def free_ports(count):
    """Below those that Ray gives its workers and the system its connections."""
    found = []
    for port in range(21_000, 31_000, 7):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free port")


def family(pid):
    """A process and all that come from it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("ray")
    place = tmp_path_factory.mktemp("elsewhere")
    with made_index(place / "one") as index:
        key = next(iter(index))
        split(index, place / "indexes" / "many", 3)
        found = index.query_key(key, limit=20, order="key")
        expected = [[hit.key, hit.distance] for hit in found]
        yield place, key, expected, len(index)


@pytest.fixture(scope="module")
def server(cluster):
    """Ray with a door for clients, that has ``indexes`` in its working folder."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    port, door = free_ports(2)
    started = subprocess.Popen(
        [
            Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}",
            f"--ray-client-server-port={door}", "--num-cpus=1", "--include-dashboard=false",
            f"--object-store-memory={100 << 20}", "--disable-usage-stats",
        ],
        cwd=cluster[0],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    latest = time.monotonic() + 120
    while subprocess.run([sys.executable, "-c", ENTER, f"ray://127.0.0.1:{door}"]).returncode:
        assert time.monotonic() < latest  # the door stands open before anyone is behind it
        time.sleep(0.5)
    yield f"127.0.0.1:{door}"
    for pid in reversed(family(started.pid)):
        os.kill(pid, signal.SIGKILL)
    started.wait(30)
    monkeypatch.undo()


def asked(address, key, folder):
    done = subprocess.run(
        [sys.executable, "-c", ASK, address, key],
        cwd=folder,  # where nothing is seen of the cluster by its name
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["name", "path"])
def test_from_elsewhere_it_is_asked_by_name_and_by_path(cluster, server, form, tmp_path):
    place, key, expected, count = cluster
    name = "many" if form == "name" else f"/{place}/indexes/many"
    path, items, found, again, missing = asked(f"ray://{server}/{name}", key, tmp_path)
    assert (found, items) == (expected, count)
    assert again[0] == again[1] == again[2]
    assert len(again[0]) == 4
    assert path == str(place / "indexes" / "many")
    assert "There is no cluster at" in missing


@pytest.mark.parametrize("address", ["ray://", "ray://host:1", "ray://host:1/", "ray:///name"])
def test_half_an_address_is_refused(address):
    with pytest.raises(hashret.UsageError, match="HOST:PORT/NAME"):
        split_address(address)
    with pytest.raises(hashret.UsageError, match="HOST:PORT/NAME"):
        hashret.open(address)


def test_a_folder_is_still_opened_as_an_index(cluster):
    with hashret.open(cluster[0] / "one") as index:
        assert isinstance(index, hashret.Index)
    with pytest.raises(hashret.IndexNotFoundError, match="is a cluster, whose shards are indexes"):
        hashret.open(cluster[0] / "indexes" / "many")


TELLING = """
import sys, time
import hashret
from hashret.cluster.connecting import connect
ray = connect(sys.argv[1])

@ray.remote(num_cpus=0, max_restarts=0)
class Dying:
    def die(self):
        import os
        os.kill(os.getpid(), 9)

try:
    ray.get(Dying.remote().die.remote())
except ray.exceptions.RayActorError:
    print("died", file=sys.stderr)
time.sleep(3)  # Ray tells of it by and by
connect(sys.argv[1])
connect("auto")
try:
    connect("elsewhere:6379")
except hashret.UsageError as error:
    print(error, file=sys.stderr)
print("a result")
"""


def test_what_befalls_processes_is_not_among_results_and_another_ray_is_refused(ray_cluster):
    command = [sys.executable, "-c", TELLING, ray_cluster.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "died" in done.stderr
    assert done.stdout == "a result\n"
    assert f"connected to {ray_cluster.address}" in done.stderr
