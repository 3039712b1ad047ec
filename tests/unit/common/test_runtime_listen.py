"""A port that somebody has is told in one sentence, whenever it is found out."""

import pytest
from kirby_common.runtime import CannotListen, Health, health_app, http_server, listen


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as theirs:
        theirs.listen()
        port = theirs.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            listen("127.0.0.1", port)
    told = str(caught.value)
    assert told == f"can't listen on 127.0.0.1:{port} (Address already in use): choose another --port"


async def test_a_port_that_somebody_else_listens_on_first_is_the_same_sentence() -> None:
    with listen("127.0.0.1", 0) as theirs, listen("127.0.0.1", theirs.getsockname()[1]) as ours:
        theirs.listen()
        with pytest.raises(CannotListen, match=r"can't listen on 127\.0\.0\.1:\d+ \(Address already in use\)"):
            async with http_server(health_app(Health(service="s", version="1")), bound=ours):
                pass
