"""How the pages' examples are read."""

import pytest

from tests.e2e.documents import File, Typed, fits, steps

PAGE = """
Text.

<!-- file: hello.py -->
```python
print("hi")
```

```console
$ kirby run hello.py
hi
$ cat <<EOF
> a
> EOF
a
```

<!-- not run: it takes a week -->
```console
$ sleep 604800
```
"""


def test_the_steps_of_a_page() -> None:
    assert list(steps(PAGE)) == [
        File("hello.py", 'print("hi")\n'),
        Typed("kirby run hello.py", ("hi",)),
        Typed("cat <<EOF\na\nEOF", ("a",)),
    ]


@pytest.mark.parametrize(
    ("output", "shown", "answer"),
    [
        ("a\nb\n", ("a", "b"), True),
        ("a\n", ("b",), False),
        ("run 12345 ended\n", ("run … ended",), True),
        ("x\na\nb\ny\n", ("…", "b", "…"), True),
        ("x\na\n", ("…", "b"), False),
        ("a   b\n", ("a b",), True),
        ("anything\n", (), True),
        ("a\n", ("a", ""), True),
    ],
)
def test_what_is_shown_fits(output: str, shown: tuple[str, ...], answer: bool) -> None:
    assert fits(output, shown) is answer
