"""The suite of one home: which parts it has, what each is told, and where the others are."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from kirby.dev.enrolment import Enrolment
from kirby.dev.folders import private_folder
from kirby.dev.home import Home, HomeUnusable
from kirby.dev.index import IndexPart
from kirby.dev.kafka import KafkaPart
from kirby.dev.lifeline import Lifeline
from kirby.dev.parts import base_environment
from kirby.dev.postgres import PostgresPart
from kirby.dev.redis import RedisPart
from kirby.dev.service import Extra, ServicePart
from kirby.dev.supervisor import Kept

SUPERVISOR = "local"
"""The name of the first supervisor; the others are local-2, local-3, …"""
_WORKERS, _SERVICES, _STORES = 0, 1, 2
"""Rounds of stopping: workers give back what they hold while there is still someone to take it."""
_POSTGRES = ("postgres", "postgresql", "postgresql+asyncpg")
_NOT_FOR_SERVICES = ("KIRBY_HOME", "KIRBY_URL", "KIRBY_TOKEN")


@dataclass(frozen=True)
class Suite:
    """The parts to keep, and the environments of the services by name."""

    kept: tuple[Kept, ...]
    url: str
    index: IndexPart
    environments: Mapping[str, dict[str, str]]
    external: tuple[str, ...] = ()
    kafka: KafkaPart | None = None

    def told(self) -> dict[str, str]:
        """Every variable that any service got; the api's word where they differ."""
        return {name: value for env in reversed([*self.environments.values()]) for name, value in env.items()}


@dataclass
class _Plan:
    """The addresses that everything else follows from."""

    home: Home
    kept: list[Kept] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    stores: dict[str, str] = field(default_factory=dict)
    kafka: KafkaPart | None = None

    def add(self, kept: Kept) -> None:
        self.kept.append(kept)


def build(home: Home, *, lifeline: Lifeline, supervisors: int = 1) -> Suite:
    """Wires everything; call it while holding the home, because it chooses ports."""
    plan = _Plan(home)
    _add_kafka(plan)
    _add_postgres(plan)
    _add_redis(plan)
    index = IndexPart(home.path / "index", port=home.port("index"), password=home.secret("index"))
    plan.add(Kept(index, stop_round=_STORES))
    services = ("api", "ledger", "vault", "notifier")
    numbered = [(f"scheduler{_suffix(n)}", f"worker{_suffix(n)}") for n in range(1, supervisors + 1)]
    names = [*services, *(name for pair in numbered for name in pair)]
    ports = {name: home.port(name) for name in names}
    environments = _environments(home, index, ports, plan.stores)
    needs = tuple(one.part.name for one in plan.kept if one.part.name != "index")
    for name in services:
        plan.add(Kept(_service(home, name, ports, environments[name]), needs=needs, stop_round=_SERVICES))
    for number, pair in enumerate(numbered, start=1):
        for one in _supervisor(home, number, pair, ports, environments, lifeline, needs):
            plan.add(one)
    url = f"http://127.0.0.1:{ports['api']}"
    return Suite(tuple(plan.kept), url, index, environments, tuple(plan.external), plan.kafka)


def _add_kafka(plan: _Plan) -> None:
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        plan.stores |= {name: value for name, value in os.environ.items() if name.startswith("KAFKA_")}
        plan.external.append("kafka")
        return
    port, controller_port = plan.home.port("kafka"), plan.home.port("kafka-controller")
    plan.kafka = KafkaPart(plan.home.path / "kafka", port=port, controller_port=controller_port)
    plan.stores["KAFKA_BOOTSTRAP_SERVERS"] = plan.kafka.bootstrap
    plan.add(Kept(plan.kafka, stop_round=_STORES))


def _add_postgres(plan: _Plan) -> None:
    given = os.environ.get("SQLALCHEMY_DATABASE_URI")
    if given:
        if urlsplit(given).scheme not in _POSTGRES:
            raise HomeUnusable("Kirby needs PostgreSQL; unset SQLALCHEMY_DATABASE_URI and `kirby dev` starts one")
        plan.external.append("postgres")
    else:
        folder, password = plan.home.path / "postgres", plan.home.secret("postgres")
        part = PostgresPart(folder, port=plan.home.port("postgres"), password=password)
        plan.add(Kept(part, stop_round=_STORES))
        given = part.uri()
    plan.stores["SQLALCHEMY_DATABASE_URI"] = given


def _add_redis(plan: _Plan) -> None:
    given = os.environ.get("REDIS_URL")
    if given:
        plan.external.append("redis")
    else:
        part = RedisPart(plan.home.path / "redis", port=plan.home.port("redis"))
        plan.add(Kept(part, stop_round=_STORES))
        given = part.url
    plan.stores["REDIS_URL"] = given


def _environments(
    home: Home, index: IndexPart, ports: Mapping[str, int], stores: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """What each service is told, and nothing it has no business with: workers see neither database nor secrets."""
    kafka = {name: value for name, value in stores.items() if name.startswith("KAFKA_")}
    database = {"SQLALCHEMY_DATABASE_URI": stores["SQLALCHEMY_DATABASE_URI"]}
    redis = {"REDIS_URL": stores["REDIS_URL"]}
    signing = {"SECRET_KEY": os.environ.get("SECRET_KEY") or home.secret("secret-key")}
    salt = {"SECURITY_PASSWORD_SALT": os.environ.get("SECURITY_PASSWORD_SALT") or home.secret("password-salt")}
    at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    package_index = {
        "KIRBY_PACKAGE_INDEX_URL": index.url,
        "KIRBY_PACKAGE_UPLOAD_URL": index.upload_url,
        "KIRBY_PACKAGE_INDEX_USERNAME": index.username,
        "KIRBY_PACKAGE_INDEX_PASSWORD": home.secret("index"),
    }
    addresses = {"KIRBY_VAULT_URL": at["vault"], "KIRBY_NOTIFIER_URL": at["notifier"], "KIRBY_LEDGER_URL": at["ledger"]}
    # One arena: glibc's many cost each service some megabytes, for threads that mostly sleep.
    common = base_environment() | {"MALLOC_ARENA_MAX": "1"} | _passed_on() | kafka
    api = common | database | redis | signing | salt | package_index | addresses | {"KIRBY_PUBLIC_URL": at["api"]}
    worker = common | package_index | {"KIRBY_URL": at["api"], "KIRBY_VAULT_URL": at["vault"]}
    worker["KIRBY_LEDGER_URL"] = at["ledger"]
    del worker["KIRBY_PACKAGE_UPLOAD_URL"]
    if "KIRBY_RUN_AS" not in os.environ:
        # Another user's scripts could not enter the home: theirs keep large values in that user's own folder.
        worker.setdefault("KIRBY_OBJECTS_URL", str(home.path / "objects"))
    # Receivers on this machine are the only ones a laptop's webhooks can have.
    notifier = {"KIRBY_NOTIFIER_ALLOW_PRIVATE": "true"} | common | database | signing | {"KIRBY_PUBLIC_URL": at["api"]}
    return {
        "api": api,
        "ledger": api,
        "scheduler": common | database | redis | signing,
        "worker": worker,
        "vault": common | database | signing | {"KIRBY_VAULT_KEY_FILE": str(home.vault_key_file())},
        "notifier": notifier,
    }


def _passed_on() -> dict[str, str]:
    """Settings of Kirby's own that the user has set."""
    own = re.compile(r"KIRBY_|EXT_|TESTING$|LOG_FORMAT$")
    return {name: value for name, value in os.environ.items() if own.match(name) and name not in _NOT_FOR_SERVICES}


def _service(
    home: Home,
    name: str,
    ports: Mapping[str, int],
    env: Mapping[str, str],
    *,
    command: tuple[str, ...] | None = None,
    extra: Extra | None = None,
    pass_fds: tuple[int, ...] = (),
) -> ServicePart:
    roles: dict[str, tuple[str, ...]] = {"api": ("api", "--role", "web"), "ledger": ("api", "--role", "ledger")}
    words = command if command is not None else roles.get(name, (name,))
    return ServicePart(
        name,
        command=words,
        distribution=f"kirby-{words[0]}",
        port=ports[name],
        env=env,
        folder=private_folder(home.path / "services"),
        extra=extra,
        pass_fds=pass_fds,
    )


def _supervisor(
    home: Home,
    number: int,
    names: tuple[str, str],
    ports: Mapping[str, int],
    environments: Mapping[str, dict[str, str]],
    lifeline: Lifeline,
    needs: tuple[str, ...],
) -> list[Kept]:
    """A scheduler candidate and the worker that it enrols."""
    scheduler, worker = names
    name = SUPERVISOR + _suffix(number)
    enrolment = Enrolment(name)
    work = private_folder(home.path / worker)
    env = environments["worker"] | {"KIRBY_WORKER_HOME": str(work), "KIRBY_LIFELINE_FD": str(lifeline.read_fd)}
    scheduling = _service(
        home,
        scheduler,
        ports,
        environments["scheduler"],
        command=("scheduler", "--name", name),
        extra=enrolment.for_scheduler,
    )
    working = _service(
        home,
        worker,
        ports,
        env,
        command=("worker", name),
        extra=enrolment.for_worker,
        pass_fds=(lifeline.read_fd,),
    )
    return [
        Kept(scheduling, needs=needs, stop_round=_SERVICES),
        Kept(working, needs=needs, stop_round=_WORKERS),
    ]


def _suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"


def logs_of(home: Home) -> list[str]:
    """The names of the parts that have written a log."""
    return sorted(path.stem for path in Path(home.logs).glob("*.log"))
