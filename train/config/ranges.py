"""Checks of settings."""

from edgeskin.errors import SettingError


def require_range(settings: object, low: float, high: float, *names: str) -> None:
    """Raise SettingError unless attributes are from low to high."""
    for name in names:
        value = getattr(settings, name)
        if not low <= value <= high:
            raise SettingError(f"{name} {value}: choose {low} to {high}")
