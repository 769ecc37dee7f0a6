"""Results say what they were measured with, and are read only for the bundle that they are of."""

import json
from pathlib import Path

import pytest

from benchmarks import environment
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError


def test_a_result_names_command_machine_and_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    content = environment.result("python -m x", "numpy", results={"a": 1})
    assert content["command"] == "OPENBLAS_NUM_THREADS=1 python -m x"
    assert content["bundle_sha256"] == open_bundle().sha256
    assert set(content["machine"]) >= {"processor", "threads", "numpy"}
    assert content["results"] == {"a": 1}
    assert environment.hardware(content).endswith(
        f"{content['isa']}, {content['machine']['threads']} threads"
    )


def test_a_result_lies_beside_its_script(tmp_path: Path) -> None:
    path = environment.result_path(str(tmp_path / "script.py"))
    assert path == tmp_path / "results" / "script.json"
    environment.write_result(path, {"bundle_sha256": open_bundle().sha256})
    assert environment.read_result(path) == json.loads(path.read_text())


def test_a_result_of_another_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"bundle_sha256": "another"}))
    with pytest.raises(SettingError, match=r"script\.json"):
        environment.read_result(path)
    with pytest.raises(SettingError, match="lite"):
        environment.require_bundle(path, open_bundle().sha256, "lite")
    environment.require_bundle(path, None)
