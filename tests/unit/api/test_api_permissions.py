"""Every route declares a permission; what a permission covers."""

import pytest
from kirby_api.access.permissions import Caller, Grant, Permission, Place, grants_of
from kirby_api.app import create_app, permissions
from kirby_api.problems import Forbidden

OWN = {"create_token", "create_login_link", "delete_token", "logout", "preview_schedule", "preview_exception"}
PUBLIC = {"login", "get_endpoints", "login_link", "openapi_document", "docs", "ui"}


def test_every_route_declares_who_may_call_it() -> None:
    found = permissions(create_app(None, version="0"))
    assert len(found) > 70
    assert {route.name for route, permission in found if permission is None} == PUBLIC


def test_a_route_without_a_permission_is_named() -> None:
    app = create_app(None, version="0")
    app.add_api_route("/api/v1/forgotten", lambda: None, name="forgotten")
    with pytest.raises(LookupError, match="forgotten"):
        permissions(app)


def test_reading_routes_need_less_than_writing_ones() -> None:
    for route, permission in permissions(create_app(None, version="0")):
        if permission in ("read", "topics:read") and route.name not in OWN:
            assert route.methods <= {"GET", "HEAD"}, route.name


def caller(*grants: Grant) -> Caller:
    return Caller(user_id=None, name="eve", role="custom", grants=grants)  # type: ignore[arg-type]


def test_a_grant_holds_in_its_environment_and_namespace() -> None:
    eve = caller(Grant(Permission.OPERATE, env="test", namespace="sales.*"))
    eve.require(Permission.OPERATE, Place("test", "sales"))
    eve.require(Permission.OPERATE, Place("test", "sales.reports"))
    for place in (Place("prod", "sales"), Place("test", "salesforce")):
        with pytest.raises(Forbidden, match="may not start, cancel or kill runs"):
            eve.require(Permission.OPERATE, place)
    with pytest.raises(Forbidden):
        eve.require(Permission.CONFIGURE, Place("test", "sales"))


def test_roles() -> None:
    assert {g.permission for g in grants_of("admin")} == set(Permission)
    assert [g.permission for g in grants_of("viewer")] == [Permission.READ]
    assert grants_of("stranger") == grants_of("none") == ()


def test_what_all_share_is_looked_at_by_all_and_changed_by_who_may_do_so_everywhere() -> None:
    eve = caller(*grants_of("developer", env="test"))
    eve.require(Permission.READ, Place(namespace="sales"))
    eve.require(Permission.CONFIGURE, Place("test", "sales"))
    for place in (Place(namespace="sales"), Place()):
        assert not eve.may(Permission.CONFIGURE, place)
    assert eve.holds(Permission.CONFIGURE)
    assert not caller(*grants_of("admin", env="test")).holds(Permission.ADMINISTER)


def test_the_document_has_one_operation_per_name_and_examples() -> None:
    app = create_app(None, version="0")
    document = app.openapi()
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids)) > 70
    schemas = document["components"]["schemas"]
    for name in ("NewJob", "NewRun", "NewDeployment", "RunView", "Document", "ProblemDocument"):
        assert schemas[name]["examples"], name
