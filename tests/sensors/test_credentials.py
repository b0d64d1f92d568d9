from datetime import timedelta

import pytest

from sensors.credentials import Credentials, Role, Secret, hashed, matches
from sensors.device import DeviceId
from sensors.operations import credentials, reading
from sensors.registry import Registry
from twin.errors import InputError, UnknownError

WP_1, WP_2 = DeviceId("WP-1"), DeviceId("WP-2")


@pytest.fixture
def logins(engine, clock):
    return Credentials(engine, clock)


def test_a_device_proves_itself_and_speaks_for_nobody_else(logins):
    issued = logins.issue("WP-1", Role.DEVICE, WP_1)
    assert logins.check("WP-1", issued.secret, WP_1)
    assert not logins.check("WP-1", issued.secret, WP_2)
    assert not logins.check("WP-1", issued.secret + "x", WP_1)
    assert not logins.check("WP-2", issued.secret, WP_2)
    assert not logins.check("", "", WP_1)


def test_a_platform_speaks_for_the_devices_of_its_scope(logins):
    secret = logins.issue("telecom", Role.PLATFORM, scope="WP-* GM-0044").secret
    assert logins.check("telecom", secret, WP_1)
    assert logins.check("telecom", secret, DeviceId("GM-0044"))
    assert not logins.check("telecom", secret, DeviceId("GM-0045"))


def test_a_service_speaks_for_no_device(logins):
    secret = logins.issue("ingest", Role.SERVICE).secret
    assert not logins.check("ingest", secret, WP_1)


def test_a_station_has_the_password_that_it_came_with(logins):
    logins.issue("hj212/010000A8900016F000169DC0", Role.STATION, WP_1, secret="123456")
    assert logins.check("hj212/010000A8900016F000169DC0", "123456", WP_1)
    assert not logins.check("hj212/010000A8900016F000169DC0", "123456", WP_2)


def test_a_new_secret_ends_the_old_one(logins):
    old = logins.issue("WP-1", Role.DEVICE, WP_1)
    new = logins.rotate("WP-1")
    assert not logins.check("WP-1", old.secret, WP_1)
    assert logins.check("WP-1", new.secret, WP_1)


def test_a_revoked_login_proves_nothing_until_it_is_issued_anew(logins):
    old = logins.issue("WP-1", Role.DEVICE, WP_1)
    logins.revoke("WP-1")
    assert not logins.check("WP-1", old.secret, WP_1)
    with pytest.raises(UnknownError, match="revoked"):
        logins.rotate("WP-1")
    assert logins.check("WP-1", logins.issue("WP-1", Role.DEVICE, WP_1).secret, WP_1)


def test_a_login_ends_at_its_time_and_with_its_device(logins, engine, clock):
    expiring = logins.issue("WP-1", Role.DEVICE, WP_1, expires=clock.now() + timedelta(days=1))
    lasting = logins.issue("WP-2", Role.DEVICE, WP_2)
    clock.move_to(clock.now() + timedelta(days=1))
    assert not logins.check("WP-1", expiring.secret, WP_1)

    assert logins.check("WP-2", lasting.secret, WP_2)
    retire(engine, "WP-2")
    assert not logins.check("WP-2", lasting.secret, WP_2)


def retire(engine, name):
    from dataclasses import replace

    registry = Registry(engine)
    registry.put([replace(registry.get(name), retired=True)])


def test_devices_without_a_login_are_given_one_all_or_none(logins):
    assert logins.without() == ["WP-1", "WP-2"]
    with pytest.raises(UnknownError):
        logins.issue_to_devices([WP_1, DeviceId("nobody")])
    assert logins.without() == ["WP-1", "WP-2"]
    assert [secret.login for secret in logins.issue_to_devices(logins.without())] == ["WP-1", "WP-2"]
    assert logins.without() == []


def test_a_revoked_device_is_not_given_a_login_along_with_the_others(logins):
    logins.issue("WP-1", Role.DEVICE, WP_1)
    logins.revoke("WP-1")
    assert logins.without() == ["WP-2"]
    logins.issue_to_devices([WP_1, WP_1])
    assert [(one.login, one.revoked) for one in logins.list()] == [("WP-1", None)]


@pytest.mark.parametrize(
    ("login", "role", "device", "scope", "secret"),
    [
        ("WP-1", Role.DEVICE, WP_2, "", None),
        ("WP-1", Role.DEVICE, None, "", None),
        ("WP-1", Role.DEVICE, WP_1, "", "chosen"),
        ("#", Role.SERVICE, None, "", None),
        ("a/b", Role.NODE, None, "", None),
        ("a:b\nroot", Role.SERVICE, None, "", None),
        ("telecom", Role.PLATFORM, None, " ", None),
        ("ingest", Role.SERVICE, None, "*", None),
        ("MN1", Role.STATION, WP_1, "", "123456"),
        ("hj212/MN1", Role.STATION, WP_1, "", "12\n3456"),
    ],
)
def test_a_login_that_would_not_mean_what_its_role_says_is_refused(logins, login, role, device, scope, secret):  # noqa: PLR0917  # the columns of the table above
    with pytest.raises(InputError):
        logins.issue(login, role, device, scope=scope, secret=secret)
    assert logins.list() == []


def test_a_login_is_issued_once(logins):
    logins.issue("WP-1", Role.DEVICE, WP_1)
    with pytest.raises(InputError, match="already"):
        logins.issue("WP-1", Role.DEVICE, WP_1)


def test_secrets_are_neither_kept_nor_shown(logins, engine):
    issued = logins.issue("WP-1", Role.DEVICE, WP_1)
    assert issued.secret not in repr(issued)
    assert issued.secret not in str(issued)
    assert "$7$" not in repr(logins.list())
    with reading(engine) as connection:
        assert issued.secret not in str(connection.execute(credentials.select()).all())


def test_a_bearer_token_is_login_and_secret(logins):
    issued = logins.issue("telecom", Role.PLATFORM, scope="*")
    assert Secret.of_bearer(issued.bearer) == issued
    assert Secret.of_bearer("garbage") == Secret("", "")


def test_the_same_secret_has_another_hash_each_time():
    one, other = hashed("s"), hashed("s")
    assert one != other
    assert matches("s", one)
    assert matches("s", other)
