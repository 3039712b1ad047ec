import base64
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from kirby_vault.domain.envelope import MasterKey, check_matches, make_check, seal, unseal
from kirby_vault.domain.plaintext import SecretData
from kirby_vault.errors import Tampered, WrongKey

KEY = MasterKey(bytes(range(32)))
DATA = SecretData({"user": "kirby", "password": "PLANTED é 🔑"})


def test_what_was_sealed_is_unsealed() -> None:
    sealed = seal(DATA, key=KEY, path="db/main", version=3)
    assert unseal(sealed, key=KEY, path="db/main", version=3).reveal() == DATA.reveal()


def test_nothing_stored_holds_the_plaintext_and_no_two_seals_are_alike() -> None:
    one, two = (seal(DATA, key=KEY, path="db/main", version=1) for _ in range(2))
    assert b"PLANTED" not in one.ciphertext + one.wrapped_key
    assert one.ciphertext != two.ciphertext
    assert one.wrapped_key != two.wrapped_key


@pytest.mark.parametrize("place", [{"path": "db/other", "version": 1}, {"path": "db/main", "version": 2}])
def test_a_ciphertext_moved_to_another_row_does_not_decrypt(place: dict[str, Any]) -> None:
    sealed = seal(DATA, key=KEY, path="db/main", version=1)
    with pytest.raises(Tampered, match="does not decrypt"):
        unseal(sealed, key=KEY, **place)


@pytest.mark.parametrize("part", ["wrapped_key", "ciphertext"])
@pytest.mark.parametrize("change", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:5], lambda b: b""])
def test_a_changed_byte_or_a_cut_row_is_found(part: str, change: Callable[[bytes], bytes]) -> None:
    sealed = seal(DATA, key=KEY, path="db/main", version=1)
    changed = replace(sealed, **{part: change(getattr(sealed, part))})  # type: ignore[arg-type]
    with pytest.raises(Tampered):
        unseal(changed, key=KEY, path="db/main", version=1)


def test_another_key_does_not_decrypt_and_is_known_by_the_check() -> None:
    other = MasterKey(os.urandom(32))
    with pytest.raises(Tampered):
        unseal(seal(DATA, key=KEY, path="p", version=1), key=other, path="p", version=1)
    assert check_matches(make_check(KEY), key=KEY)
    assert not check_matches(make_check(KEY), key=other)
    assert not check_matches(b"", key=KEY)


def test_a_key_file_holds_32_bytes_in_base64() -> None:
    text = base64.b64encode(bytes(range(32))).decode()
    assert MasterKey.from_text(text + "\n").id == KEY.id


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"PLANTED short").decode(), "é"])
def test_another_key_file_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(WrongKey) as refused:
        MasterKey.from_text(text)
    assert not text or text not in str(refused.value)


def test_keys_and_plaintext_do_not_show_themselves() -> None:
    key_text = base64.b64encode(bytes(range(32))).decode()
    for shown in (repr(DATA), str(DATA), f"{DATA}", f"{[DATA]}", repr(KEY)):
        assert "PLANTED" not in shown
        assert key_text not in shown
    for hidden in (DATA, KEY):
        with pytest.raises(TypeError):
            pickle.dumps(hidden)
