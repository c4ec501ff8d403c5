"""The description of the API is true: requests made from it get the answers it tells of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from served import TOKEN, serving

from hashret.web.app import create_app
from hashret.web.settings import Settings

EXAMPLES = int(os.environ.get("HASHRET_API_EXAMPLES", "20"))
"""Requests for each route; more find more."""

DESCRIPTION = create_app(
    Settings({"digits": Path("digits")}, writable=True, token=TOKEN, guards_reads=True)
).openapi()
ROUTES = {
    operation.ok().label: operation.ok()
    for operation in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations()
}


def what_the_description_allows_is_taken(context, response, case):
    """What schemathesis checks, but for what no description can foretell.

    Whether a text is a condition on the fields, or whether there are texts at all in the index.
    """
    if response.status_code != 422 or response.json()["error"]["kind"] == "RequestError":
        positive_data_acceptance(context, response, case)


@pytest.fixture(scope="module")
def server(_trained, tmp_path_factory):
    home = tmp_path_factory.mktemp("described")
    path = shutil.copytree(_trained / "digits", home / "digits")
    with serving("-i", path, "--writable", token=TOKEN) as server:
        yield server


def test_the_served_description_is_the_one_tested(server):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert server.get("/openapi.json", headers=bearer).json() == DESCRIPTION


@pytest.mark.parametrize("route", ROUTES)
def test_every_request_gets_an_answer_that_is_described(server, route):
    asked(server, ROUTES[route].as_strategy(generation_mode=GenerationMode.POSITIVE))


@pytest.mark.parametrize("route", [route for route in ROUTES if route.startswith("POST")])
def test_every_body_that_is_not_described_is_refused(server, route):
    asked(server, ROUTES[route].as_strategy(generation_mode=GenerationMode.NEGATIVE))


def asked(server, cases):
    @given(case=cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        if "index" in (case.path_parameters or {}) and len(str(case.path_parameters)) % 4:
            case.path_parameters["index"] = "digits"  # or nearly all would ask for none
        case.call_and_validate(
            base_url=server.address,
            headers={"Authorization": f"Bearer {TOKEN}"},
            excluded_checks=[positive_data_acceptance],
            additional_checks=[what_the_description_allows_is_taken],
        )

    ask()
    assert server.lives()
