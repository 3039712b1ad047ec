"""The import document: a whole script database as JSON. Its forms, and where in it a fault is."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from kirby_api.kinds.contexts import ScriptSpec
from kirby_api.kinds.environments import NewEnvironment
from kirby_api.kinds.jobs import NewJob
from kirby_api.kinds.kind import Form
from kirby_api.kinds.limits import NewLimit
from kirby_api.kinds.names import Argument, EnvironmentName, Name, PolicyKeys, VariableName, VariableValue
from kirby_api.kinds.notifications import NewGroup
from kirby_api.kinds.schedules import NewSchedule
from kirby_api.kinds.scripts import NewScript
from kirby_api.kinds.topics import NewTopic
from kirby_api.problems import Invalid


def _script(text: str) -> str:
    """`name==version`, both as they would be alone."""
    name, equals, version = text.partition("==")
    if not equals:
        raise ValueError(f"'{text}' is not a script; write NAME==VERSION, for example weather-sensor==1.0.0")
    try:
        spec = ScriptSpec(package_name=name, package_version=version)
    except ValidationError as error:
        raise ValueError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
    return f"{spec.package_name}=={spec.package_version}"


ScriptRef = Annotated[str, AfterValidator(_script)]


class Variable(Form):
    name: VariableName
    value: VariableValue


class Told(Form):
    group: Name
    on_failure: bool = True
    on_retry: bool = False


class ContextEntry(Form):
    """A job in an environment. `script` is NAME==VERSION of an entry of `scripts`."""

    env: EnvironmentName
    script: ScriptRef | None = None
    entry: str | None = Field(default=None, description="which of several scripts of that version")
    schedules: list[Name] = []
    enabled: bool = False
    replicas: int = Field(default=1, ge=0, le=1000)
    per_worker: bool = False
    pool: Name = "default"
    args: list[Argument] = []
    policies: PolicyKeys = {}
    config_keys: list[Variable] = []
    notifications: list[Told] = []


class JobEntry(NewJob):
    config_keys: list[Variable] = []
    contexts: list[ContextEntry] = []


class Document(Form):
    """All or nothing: a fault anywhere is told with its path, and nothing is changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": 1,
                    "environments": [{"name": "prod"}],
                    "schedules": [{"name": "every-10-seconds", "every": "10s"}],
                    "scripts": [{"package_name": "weather-sensor", "package_version": "1.0.0"}],
                    "jobs": [
                        {
                            "name": "weather-sensor",
                            "contexts": [
                                {"env": "prod", "script": "weather-sensor==1.0.0",
                                 "schedules": ["every-10-seconds"], "enabled": True}
                            ],
                        }
                    ],
                }
            ]
        }
    )  # fmt: skip

    version: Literal[1]
    environments: list[NewEnvironment] = []
    schedules: list[NewSchedule] = []
    topics: list[NewTopic] = []
    scripts: list[NewScript] = []
    notification_groups: list[NewGroup] = []
    limits: list[NewLimit] = []
    config_keys: list[Variable] = []
    jobs: list[JobEntry] = []


def parse(value: Any) -> Document:
    """Raises `Invalid` with the path of the first fault, as in `jobs[2].contexts[0].script: …`."""
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = str(first["msg"]).removeprefix("Value error, ")
        raise Invalid(f"{path_of(first['loc'])}: {what}", path=path_of(first["loc"])) from None


def path_of(location: tuple[str | int, ...]) -> str:
    """`("jobs", 2, "name")` as `jobs[2].name`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "the document"
