import pytest
from kirby_vault.domain.names import check_data, check_path, check_pattern, covers
from kirby_vault.domain.plaintext import SecretData
from kirby_vault.errors import BadName


@pytest.mark.parametrize("path", ["db", "db/main", "team-a/db.main/v_2", "0/1"])
def test_a_path_is_names_with_slashes_between(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path", ["", "/db", "db/", "db//main", "../db", "db/..", "./db", "db main", "db/\n", "dé", "a*", "x" * 201]
)
def test_another_path_is_refused_with_a_sentence(path: str) -> None:
    with pytest.raises(BadName, match="secret"):
        check_path(path)


@pytest.mark.parametrize("pattern", ["db/main", "db/*", "team/a/*"])
def test_a_grant_is_a_path_or_everything_below_one(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["*", "/*", "db*", "db/*/main", "db/**", "db/*/*", ""])
def test_a_star_may_only_be_the_whole_last_part(pattern: str) -> None:
    with pytest.raises(BadName):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("db/main", "db/main", True),
        ("db/main", "db/main2", False),
        ("db/main", "db/main/x", False),
        ("db/*", "db/main", True),
        ("db/*", "db/a/b", True),
        ("db/*", "db", False),
        ("db/*", "db/", False),
        ("db/*", "dbx/main", False),
        ("db/*", "other/db/main", False),
    ],
)
def test_what_a_grant_covers(pattern: str, path: str, covered: bool) -> None:
    assert covers(pattern, path=path) is covered


def test_a_secret_has_fields() -> None:
    with pytest.raises(BadName, match="at least one field"):
        check_data(SecretData({}))


@pytest.mark.parametrize(
    "values",
    [
        {"pass word": "PLANTED"},
        {"": "PLANTED"},
        {"password": "PLANTED\0"},
        {"password": "PLANTED" * 100_000},
        {f"f{n}": "PLANTED" for n in range(101)},
    ],
)
def test_fields_that_are_refused_are_told_without_their_values(values: dict[str, str]) -> None:
    with pytest.raises(BadName) as refused:
        check_data(SecretData(values))
    assert "PLANTED" not in str(refused.value)
