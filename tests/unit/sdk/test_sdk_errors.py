"""Errors come back from process pools as they were."""

import pickle

import kirby
import pytest
from kirby.state.errors import NotOwned, OwnerAbsent, StateConflict


@pytest.mark.parametrize(
    "error",
    [
        kirby.CallFailed("weather", "weather answered 503", status=503, text="later"),
        kirby.BadMessage("in", 0, 7, b"{", "as JSON: it ends too early"),
        kirby.BadValue("out", "a set is no JSON"),
        kirby.HeldBack("writing report.json"),
        kirby.SecretUnavailable("db/password", "It is denied", "denied"),
        kirby.MissingVariable(["STATION", "BATCH"]),
        StateConflict("prices", "bread", expected=1, version=2),
        NotOwned("counts", "bread", 3),
        OwnerAbsent("counts", "bread"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_travels_keeps_its_kind_its_sentence_and_its_attributes(error: kirby.KirbyError) -> None:
    came = pickle.loads(pickle.dumps(error))
    assert type(came) is type(error)
    assert (str(came), came.args, vars(came)) == (str(error), error.args, vars(error))
