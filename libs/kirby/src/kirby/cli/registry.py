"""Every sub-command: where its code lies, and its line in `kirby --help`.

Only the module of the command that was asked for is imported, so that `kirby runs` stays fast.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LocalCommand:
    """A command of the `kirby` distribution itself."""

    target: str
    help: str


@dataclass(frozen=True)
class ServiceCommand:
    """A command that another distribution provides through the entry point group `kirby.commands`."""

    help: str
    what: str = "the server"
    extra: str = "server"


LOCAL = {
    "alerts": LocalCommand("kirby.cli.alerts:app", "What should be and is not: missed due times, daemons, leader …"),
    "backfill": LocalCommand("kirby.cli.backfill:app", "Run the past due times of a job, a few at a time."),
    "backfills": LocalCommand("kirby.cli.backfills:app", "Backfills: list, look at one, pause, resume, cancel."),
    "config-keys": LocalCommand("kirby.cli.database.config_keys:app", "The variables that scripts get."),
    "contexts": LocalCommand("kirby.cli.database.contexts:app", "Jobs in environments: version, schedules, state."),
    "daemons": LocalCommand("kirby.cli.daemons:app", "How the daemons are, replica by replica; restart them."),
    "deploy": LocalCommand("kirby.cli.deploy:app", "Build, publish and register a script, project or wheel in one go."),
    "envs": LocalCommand("kirby.cli.database.envs:app", "Environments."),
    "exceptions": LocalCommand("kirby.cli.database.exceptions:app", "Windows in which schedules pause or slow down."),
    "jobs": LocalCommand("kirby.cli.database.jobs:app", "Jobs."),
    "limits": LocalCommand("kirby.cli.database.limits:app", "How many runs at once may use something they share."),
    "lineage": LocalCommand("kirby.cli.lineage:app", "Where messages come from; what jobs read and write."),
    "login-link": LocalCommand("kirby.cli.login_link:app", "Print a one-time link that signs a browser in."),
    "logs": LocalCommand("kirby.cli.logs:app", "Print what a run printed; -f follows it live."),
    "notification-groups": LocalCommand(
        "kirby.cli.database.notification_groups:app", "Whom to tell: e-mails, webhooks."
    ),
    "notifications": LocalCommand("kirby.cli.database.notifications:app", "Which group hears of which job."),
    "publish": LocalCommand("kirby.cli.publish:app", "Upload wheels or sdists to the private index."),
    "replay": LocalCommand("kirby.cli.replay:app", "Copy stored messages to another environment, or into a folder."),
    "rewind": LocalCommand("kirby.cli.rewind:app", "Process stored messages again, flagged as a re-run."),
    "rewinds": LocalCommand(
        "kirby.cli.rewinds:app", "Rewinds: list, pause, resume, cancel, throttle; compare, promote, drop."
    ),
    "run": LocalCommand("kirby.cli.run_file:app", "Run a script file once, with its lines here."),
    "runs": LocalCommand("kirby.cli.runs:app", "List runs; look at one, stop it, run it again."),
    "schedules": LocalCommand("kirby.cli.database.schedules:app", "Schedules, and when they are due."),
    "scripts": LocalCommand("kirby.cli.database.scripts:app", "Versions of packages that jobs run."),
    "secrets": LocalCommand("kirby.cli.secrets:app", "Put secrets into the vault and grant them to jobs."),
    "state": LocalCommand("kirby.cli.state:app", "States: tables that remember every version of every key."),
    "status": LocalCommand("kirby.cli.status:app", "How the suite is."),
    "supervisors": LocalCommand("kirby.cli.supervisors:app", "The workers, who leads, and tokens for new ones."),
    "test": LocalCommand("kirby.cli.test:app", "Run scripts with folders of messages, and compare what they leave."),
    "tokens": LocalCommand("kirby.cli.tokens:app", "API tokens."),
    "topics": LocalCommand("kirby.cli.database.topics:app", "Topics: list, look at messages, lag, differences."),
    "trigger": LocalCommand("kirby.cli.trigger:app", "Run a job now."),
    "users": LocalCommand("kirby.cli.users:app", "Users and their roles."),
}

SERVICES = {
    "adduser": ServiceCommand("Add a local user, directly in the database."),
    "api": ServiceCommand("Run the api service: REST, web UI (role web) or worker endpoint (role ledger)."),
    "demo": ServiceCommand("Import the demo into an empty database."),
    "notifier": ServiceCommand("Run the notifier service."),
    "scheduler": ServiceCommand("Run a scheduler service."),
    "supervisor": ServiceCommand("Run a worker and a scheduler candidate under one name."),
    "vault": ServiceCommand("Run the vault service."),
    "web": ServiceCommand("Run both roles of the api: web UI, REST and worker endpoint."),
    "worker": ServiceCommand("Run a worker service."),
}

DEV = {
    "config": LocalCommand("kirby.cli.config:app", "List the settings, their values (secrets masked) and sources."),
    "dev": LocalCommand("kirby.dev.cli:app", "Start the whole suite on this machine, with embedded stores."),
    "doctor": LocalCommand("kirby.cli.doctor:app", "Check this machine and the suite; name what fails and the remedy."),
}
