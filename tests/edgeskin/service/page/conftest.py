"""A real service with the default bundle and a real browser, which the tests of the page share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("axe_playwright_python", reason="the extra test is not installed")

from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import FAKE_CAMERA, Visitor


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kiosk.service(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="package")
def ungated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service whose gates the operator has switched off."""
    folder = tmp_path_factory.mktemp("ungated")
    with kiosk.service(folder, "--no-quality-gate", "--no-scope-gate") as started:
        yield started


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return kiosk.pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="package")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    video = kiosk.video(tmp_path_factory.mktemp("video") / "lesion.y4m", 1)
    with kiosk.chromium(playwright, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={video}") as started:
        yield started


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    """A window on the page in English. Nothing may complain in it."""
    with kiosk.visitor(browser, address) as one:
        yield one
        assert one.unexpected() == []
