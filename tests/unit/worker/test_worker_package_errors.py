"""What uv says (0.13), and the one sentence that is made of it."""

import pytest
from kirby_worker.domain.package_errors import explain

UNREACHABLE = """error: Request failed after 3 retries in 9.3s
  cause: Failed to fetch: http://127.0.0.1:1/simple/numpy/
  cause: error sending request for url (http://127.0.0.1:1/simple/numpy/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
BUILD = """Using Python 3.11.7 environment at: v1
Resolved 1 package in 1ms
   Building badbuild==1.0
error: Failed to build `badbuild==1.0`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.get_requires_for_build_wheel` failed (exit status: 1)

         [stderr]
         Traceback (most recent call last):
           File "<string>", line 14, in <module>
         RuntimeError: boom at build

hint: Build failures usually indicate a problem with the package or the build environment
"""
UNSATISFIABLE = "error: No solution found when resolving dependencies\n  cause: "


@pytest.mark.parametrize(
    ("output", "package", "sentence"),
    [
        (
            UNSATISFIABLE + "Because nope was not found in the package registry and you require nope==1.0, we can…",
            "nope==1.0",
            "there is no package named nope in the package index",
        ),
        (
            UNSATISFIABLE
            + "Because six-x was not found in the package registry and all versions of a depend on six-x>1",
            "a==1.0",
            "a==1.0 needs six-x, which is not in the package index",
        ),
        (
            UNSATISFIABLE + "Because there is no version of six==99.0 and you require six==99.0, we can conclude",
            "six==99.0",
            "there is no version 99.0 of six in the package index",
        ),
        (
            UNSATISFIABLE + "Because there is no version of six==0.0.1 and all versions of a depend on six==0.0.1, we",
            "a==1.0",
            "a==1.0 needs six==0.0.1, which is not in the package index",
        ),
        (
            UNSATISFIABLE + "Because needpy==1.0 requires Python >=3.13 and you require needpy==1.0, we can conclude",
            "needpy==1.0",
            "needpy 1.0 needs Python >=3.13, this worker has 3.11.7",
        ),
        (BUILD, "badbuild==1.0", "badbuild==1.0 failed to build: RuntimeError: boom at build"),
        (
            "error: Failed to download and build `a==1.0`\n  cause: Hash mismatch for `a==1.0`\n\n Expected:\n",
            "a==1.0",
            "a==1.0 in the package index is not the file it was when a==1.0 was registered",
        ),
        ("error: something new\n  cause: of a kind\n", "a==1.0", "a==1.0 can't be installed: of a kind"),
        ("", "a==1.0", "a==1.0 can't be installed: uv gave no reason"),
    ],
)
def test_an_error_is_one_sentence(output: str, package: str, sentence: str) -> None:
    error = explain(output, package=package, python="3.11.7")
    assert str(error) == sentence
    assert not error.transient


def test_an_index_that_does_not_answer_may_later() -> None:
    error = explain(UNREACHABLE, package="numpy==1.0", python="3.11.7")
    assert error.transient
    assert str(error) == (
        "the package index did not answer while numpy==1.0 was looked for: Connection refused (os error 111)"
    )
