"""However many ask at once with the same client token, there is one task."""

from __future__ import annotations

from dataclasses import replace

from modelpress.errors import IdempotentParameterMismatch
from modelpress.service.tasks import TaskRequest
from tests.conformance.house import House
from tests.conformance.scene import RECIPE
from tests.conformance.together import at_once, run_together

_CREATE = """from modelpress.service.services import open_services; from modelpress.service.tasks import TaskRequest; \
from modelpress.settings import Settings; from modelpress.domain.policy import Caller, Policy; \
from tests.conformance.scene import RECIPE
data, database, account, source, fill = sys.argv[1:]
caller = Caller(account_id=account, user_id="u", access_key="k", policies=frozenset({Policy.FULL_CONTROL}))
request = TaskRequest(
    name="n", description="", source_model_id=source, model_set_id=fill, recipe=RECIPE, client_token="t"
)
with open_services(Settings(data=Path(data), database=database)) as services:
    print(services.tasks.create(caller, request).id)
"""


def _request(house: House) -> TaskRequest:
    return TaskRequest(
        name="n",
        description="",
        source_model_id=house.source.id,
        model_set_id=house.model_set.id,
        recipe=RECIPE,
        client_token="t",
    )


def test_processes_that_create_at_once_with_one_token_make_one_task(house: House) -> None:
    made = run_together(
        _CREATE,
        str(house.settings.data),
        house.settings.database,
        house.caller.account_id,
        house.source.id,
        house.model_set.id,
        processes=4,
    )
    assert len(set(made)) == 1
    assert house.services.tasks.create(house.caller, _request(house)).id == made[0]
    assert [event.message for event in house.services.tasks.history(house.caller, made[0])] == ["accepted"]


def test_of_threads_that_ask_at_once_for_different_things_with_one_token_one_gets_it(house: House) -> None:
    tasks = house.services.tasks

    def create(name: str) -> None:
        tasks.create(house.caller, replace(_request(house), name=name))

    outcomes = at_once(*(lambda name=name: create(name) for name in "abcd"))
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert len(refused) == 3
    assert all(isinstance(outcome, IdempotentParameterMismatch) for outcome in refused)


def test_a_digest_is_of_what_is_asked_and_not_of_the_token(house: House) -> None:
    request = _request(house)
    assert request.digest() == replace(request, client_token=None).digest() == replace(request, description="").digest()
    assert request.digest() != replace(request, name="m").digest()
