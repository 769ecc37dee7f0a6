"""Settings of the service: ranges, who may reach it, and its tokens."""

from pathlib import Path
from typing import Any

import pytest

from edgeskin.errors import SettingError
from edgeskin.service.settings import ServiceSettings, read_tokens


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("port", "--port", (-1, 65_536)),
        ("queue_size", "--queue", (0, 100_001)),
        ("time_limit_s", "--time-limit", (0, float("nan"), 3601)),
        ("max_megabytes", "--max-megabytes", (0, 1001)),
        ("bodies_megabytes", "bodies_megabytes", (0,)),
        ("max_megapixels", "--max-megapixels", (0, 1001)),
        ("batch_limit", "batch_limit", (0,)),
        ("rate_limit", "--rate-limit", (0,)),
        ("drain_delay_s", "--drain-delay", (-1, 3601)),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, option: str, values: tuple[float, ...]) -> None:
    """By the name of its option, where it has one."""
    for value in values:
        with pytest.raises(SettingError, match=f"^{option} "):
            ServiceSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert ServiceSettings(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "kiosk.example", "127.0.0.1.example"])
def test_another_host_needs_a_token_or_consent(host: str) -> None:
    with pytest.raises(SettingError, match="--tokens"):
        ServiceSettings(host=host)
    ServiceSettings(host=host, tokens=("0123456789abcdef",))
    ServiceSettings(host=host, open_access=True)


@pytest.mark.parametrize("token", ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeß", "\t" * 20])
def test_a_weak_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(SettingError) as caught:
        ServiceSettings(tokens=("0123456789abcdef", token))
    assert len(token) < 2 or token not in str(caught.value)


def test_tls_needs_both_files(tmp_path: Path) -> None:
    for one in ("tls_cert", "tls_key"):
        with pytest.raises(SettingError):
            ServiceSettings(**{one: tmp_path / "x.pem"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"localhost", "127.0.0.1", "::1"}),
        ({"allowed_hosts": ("Kiosk.Local",)}, {"localhost", "127.0.0.1", "::1", "kiosk.local"}),
        (
            {"host": "192.168.1.5", "open_access": True},
            {"localhost", "127.0.0.1", "::1", "192.168.1.5"},
        ),
        ({"host": "0.0.0.0", "open_access": True}, None),
        ({"host": "::", "open_access": True}, None),
        (
            {"host": "0.0.0.0", "open_access": True, "allowed_hosts": ("a.example",)},
            {"localhost", "127.0.0.1", "::1", "0.0.0.0", "a.example"},
        ),
    ],
)
def test_the_names_that_requests_may_address(changes: dict[str, Any], names: set[str] | None) -> None:
    assert ServiceSettings(**changes).known_hosts == names


@pytest.mark.parametrize(
    "name", ["kiosk.example:8443", "https://kiosk.example", "kiosk.example/", "[::1]", "[::2]:80", "", "a b"]
)
def test_a_host_with_a_port_is_refused(name: str) -> None:
    """It would never match, since the port of a request is not compared."""
    with pytest.raises(SettingError, match="--allowed-host"):
        ServiceSettings(allowed_hosts=("kiosk.example", name))


def test_addresses_are_hosts_too() -> None:
    hosts = ("192.168.1.5", "2001:db8::5", "kiosk_1.local")
    assert ServiceSettings(allowed_hosts=hosts).known_hosts is not None


def test_all_bodies_hold_one_of_the_largest() -> None:
    assert ServiceSettings().max_bodies == 512_000_000
    assert ServiceSettings(max_megabytes=1000).max_bodies == 1_000_000_000


def test_a_batch_fits_the_queue() -> None:
    assert ServiceSettings().photos_at_once == 32
    assert ServiceSettings(queue_size=8).photos_at_once == 8
    assert ServiceSettings(batch_limit=5).photos_at_once == 5


def test_tokens_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(
        "# kiosk\n  0123456789abcdef  \n\n#not-this-one-here\nfedcba9876543210\n", encoding="utf-8"
    )
    assert read_tokens(path) == ("0123456789abcdef", "fedcba9876543210")


@pytest.mark.parametrize("content", [b"", b"# none\n\n", b"\xff\xfe\xff"])
def test_a_file_without_tokens_is_refused(content: bytes, tmp_path: Path) -> None:
    """It would let everyone in."""
    path = tmp_path / "tokens"
    path.write_bytes(content)
    for missing in (path, tmp_path / "missing", tmp_path):
        with pytest.raises(SettingError, match=str(missing)):
            read_tokens(missing)
