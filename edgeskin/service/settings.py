"""The settings of the service: addresses, limits, tokens and folders, checked before anything runs."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from edgeskin.errors import SettingError
from edgeskin.service.wording import WordingSettings

MIN_TOKEN = 16
"""Characters of a token, at least."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings of a service.

    Attributes:
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free one.
        tokens: Bearer tokens that are accepted; empty for a service open to all.
        open_access: Whether others than this machine may use the service without a token.
        queue_size: Photos that wait, at most.
        time_limit_s: Seconds for a request from its last byte to its answer, and for its body to arrive.
        max_megabytes: Size of a request's body, MB of 10^6 bytes.
        bodies_megabytes: Size of all bodies in memory together, MB; one body of the largest size always fits.
        max_megapixels: Pixels of a photo, millions.
        batch_limit: Photos of one request.
        rate_limit: Requests a minute of one client; None for no limit.
        allowed_hosts: Names, beside ``host`` and those of loopback, that requests may address.
        drain_delay_s: Seconds from SIGTERM until no connection is accepted.
        tls_cert: PEM file with the certificate chain; None for plain HTTP.
        tls_key: PEM file with its private key.
        records: Folder that keeps photos and answers; None to keep nothing.
        wording: The model that rewords messages; None for the template alone.

    Raises:
        SettingError: A value is out of its range, or the host is not loopback and anyone could use it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[str, ...] = ()
    open_access: bool = False
    queue_size: int = 64
    time_limit_s: float = 30.0
    max_megabytes: float = 20.0
    bodies_megabytes: float = 512.0
    max_megapixels: float = 100.0
    batch_limit: int = 32
    rate_limit: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    drain_delay_s: float = 0.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    records: Path | None = None
    wording: WordingSettings | None = None

    def __post_init__(self) -> None:
        ranges = {
            "--port": (self.port, 0, 65_535),
            "--queue": (self.queue_size, 1, 100_000),
            "--time-limit": (self.time_limit_s, 0.001, 3600),
            "--max-megabytes": (self.max_megabytes, 0.001, 1000),
            "bodies_megabytes": (self.bodies_megabytes, 0.001, 100_000),
            "--max-megapixels": (self.max_megapixels, 0.001, 1000),
            "batch_limit": (self.batch_limit, 1, 10_000),
            "--rate-limit": (1 if self.rate_limit is None else self.rate_limit, 1, 1_000_000),
            "--drain-delay": (self.drain_delay_s, 0, 3600),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise SettingError(f"{name} {value}: choose {low} to {high}")
        for token in self.tokens:
            if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
                raise SettingError(
                    f"a token of {len(token)} characters: use at least {MIN_TOKEN} of printable ASCII"
                )
        for name in self.allowed_hosts:
            if not re.fullmatch(r"[A-Za-z0-9._-]+", name) and not _is_address(name):
                raise SettingError(
                    f"--allowed-host {name!r}: give a name or an address, without http:// and port"
                )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingError("TLS needs both a certificate and its key: --tls-cert and --tls-key")
        if not (self.is_loopback or self.tokens or self.open_access):
            raise SettingError(
                f"host {self.host!r}: other machines could use the service without a token; name a file with "
                "--tokens, or let everyone in with --open-access"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the service."""
        return self.host in LOOPBACK_NAMES or _is_kind(self.host, "is_loopback")

    @property
    def known_hosts(self) -> frozenset[str] | None:
        """Names that requests may address, in lower case; None for any.

        A wildcard address such as 0.0.0.0 does not tell this machine's names, so any name is accepted there
        unless some are given.
        """
        is_wildcard = _is_kind(self.host, "is_unspecified")
        if is_wildcard and not self.allowed_hosts:
            return None
        return frozenset(name.lower() for name in (*LOOPBACK_NAMES, self.host, *self.allowed_hosts))

    @property
    def max_body(self) -> int:
        """Bytes of a request's body, at most."""
        return round(self.max_megabytes * 1e6)

    @property
    def max_bodies(self) -> int:
        """Bytes of all bodies in memory together, at most."""
        return max(self.max_body, round(self.bodies_megabytes * 1e6))

    @property
    def photos_at_once(self) -> int:
        """Photos of one request, at most: no more than may wait."""
        return min(self.batch_limit, self.queue_size)


def read_tokens(path: Path) -> tuple[str, ...]:
    """Read tokens from a file: one a line, without empty lines and those that start with ``#``.

    Raises:
        SettingError: The file cannot be read, or there is no token in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingError(f"{path}: the tokens cannot be read ({reason}); check the file") from error
    stripped = (line.strip() for line in lines)
    tokens = tuple(line for line in stripped if line and not line.startswith("#"))
    if not tokens:
        raise SettingError(f"{path}: no token in it; write one a line")
    return tokens


def _is_address(host: str) -> bool:
    return _is_kind(host, "version")


def _is_kind(host: str, kind: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), kind))
    except ValueError:
        return False
