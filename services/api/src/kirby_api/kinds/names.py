"""What names and values may look like. Pure; each refusal is a ValueError with one sentence."""

import re
from typing import Annotated, Any

from kirby_common.ledger.policies import Policies
from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError

_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@/ +-]*")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+!-]*[A-Za-z0-9])?")
_ENTRY = re.compile(r"[A-Za-z0-9_.:-]+")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text.endswith(("/", " ", "/revisions")) or "//" in text:
        raise ValueError("a name has letters, digits and . _ - @ / +, and begins with a letter or digit")
    return text


def _environment(text: str) -> str:
    if not _ENVIRONMENT.fullmatch(text):
        raise ValueError("an environment's name has letters, digits, - and _, and begins with a letter or digit")
    return text


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError("a namespace is words joined by dots, for example sales.reports")
    return text


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in (".", ".."):
        raise ValueError("a topic's name has letters, digits and . _ -")
    return text


def _topic_prefix(text: str) -> str:
    return _topic(text) if text else text


def _package(text: str) -> str:
    if not _PACKAGE.fullmatch(text):
        raise ValueError(f"'{text}' is not the name of a package; give it as on the index, for example my-script")
    return re.sub(r"[-_.]+", "-", text).lower()


def _version(text: str) -> str:
    if text.startswith(("=", "~", ">", "<", "!", "^")) or not _VERSION.fullmatch(text):
        raise ValueError(f"'{text}' is not a version; give the version alone, for example 1.0")
    return text


def _entry(text: str) -> str:
    if not _ENTRY.fullmatch(text):
        raise ValueError(f"entry '{text}' is neither a console script's name nor module:function")
    return text


def _variable(text: str) -> str:
    if not text:
        raise ValueError("a config key needs a name")
    if "=" in text or "\0" in text:
        raise ValueError("a config key's name can't hold = or NUL: it becomes an environment variable")
    return text


def _variable_value(text: str) -> str:
    if "\0" in text:
        raise ValueError("a config key's value can't hold NUL: it becomes an environment variable")
    if len(text.encode("utf-8", "surrogatepass")) > 100_000:
        raise ValueError("a config key's value may have at most 100,000 bytes: it becomes an environment variable")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it can't hold NUL")
    return text


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not key or "=" in key or "\0" in key + value:
            raise ValueError(f"label '{key}': a label's key is not empty and holds neither = nor NUL")
    return labels


def _policies(value: dict[str, Any]) -> dict[str, Any]:
    """Only the keys that were given, in their stored form. What is wrong is told as `key: why`."""
    try:
        checked = Policies.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = f"; known are {', '.join(Policies.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ValueError(
            f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}{known}"
        ) from None
    return checked.model_dump(mode="json", exclude_unset=True)


Text = Annotated[str, AfterValidator(_no_nul), StringConstraints(max_length=10_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_name)]
EnvironmentName = Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(_environment)]
Namespace = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_namespace)]
TopicName = Annotated[str, StringConstraints(min_length=1, max_length=249), AfterValidator(_topic)]
TopicPrefix = Annotated[str, StringConstraints(max_length=100), AfterValidator(_topic_prefix)]
PackageName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_package)]
PackageVersion = Annotated[str, StringConstraints(max_length=100), AfterValidator(_version)]
Entry = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_entry)]
VariableName = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_variable)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
Labels = Annotated[dict[str, Text], AfterValidator(_labels)]
PolicyKeys = Annotated[dict[str, Any], AfterValidator(_policies)]
Argument = Annotated[str, AfterValidator(_no_nul), StringConstraints(max_length=100_000)]

NAME: TypeAdapter[str] = TypeAdapter(Name)
