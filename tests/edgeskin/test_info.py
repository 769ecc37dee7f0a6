"""``edgeskin info``: a verified bundle and what it holds."""

import json
from pathlib import Path

from edgeskin.bundle.bundle import open_bundle
from tests.conftest import run_cli


def test_a_bundle_is_verified_and_shown(shared_micro_bundle: Path) -> None:
    done = run_cli("info", "--bundle", shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert "micro 0" in done.stdout
    assert open_bundle(shared_micro_bundle).sha256 in done.stdout
    assert done.stderr == ""


def test_the_json_is_the_manifest(shared_micro_bundle: Path) -> None:
    values = json.loads(run_cli("info", "--json", "--bundle", shared_micro_bundle).stdout)
    assert values["name"] == "micro"
    assert values == json.loads((shared_micro_bundle / "manifest.json").read_text(encoding="utf-8"))


def test_a_shipped_bundle_by_name() -> None:
    done = run_cli("info", "--json", "--bundle", "lite")
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "edgeskin-lite")


def test_an_altered_bundle_is_refused(micro_bundle: Path) -> None:
    (micro_bundle / "head.npz").write_bytes(b"0" * (micro_bundle / "head.npz").stat().st_size)
    done = run_cli("info", "--bundle", micro_bundle)
    assert (done.returncode, done.stdout) == (3, "")
    assert "head.npz" in done.stderr
