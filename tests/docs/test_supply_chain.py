"""The lock of a kiosk's packages, the oldest versions, and the software bill of materials."""

import json
import re
import runpy
import tomllib
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any
from venv import EnvBuilder

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from edgeskin.bundle.bundle import open_bundle
from tests.docs.documents import ROOT

pytestmark = pytest.mark.hazard("H-24")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
KIOSK = (ROOT / "requirements" / "kiosk.txt").read_text(encoding="utf-8")
OLDEST = (ROOT / "requirements" / "oldest.txt").read_text(encoding="utf-8")
sbom = runpy.run_path(str(ROOT / "requirements" / "sbom.py"))


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each requirement of the lock with its hashes."""
    code = re.sub(r"^#.*\n", "", KIOSK, flags=re.MULTILINE).replace("\\\n", "")
    lines = [line.split("--hash=") for line in code.splitlines() if line]
    return [(Requirement(first), [one.strip() for one in hashes]) for first, *hashes in lines]


def test_every_package_of_the_lock_has_one_version_and_hashes() -> None:
    assert len(locked()) > len(RUNTIME)
    for requirement, hashes in locked():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


def test_the_lock_names_no_host() -> None:
    assert "://" not in KIOSK
    assert "index" not in KIOSK


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_satisfies_the_requirements_of_every_python(python: str) -> None:
    on_linux = {"sys_platform": "linux", "python_version": python, "python_full_version": f"{python}.0"}
    versions = {}
    for requirement, _ in locked():
        if requirement.marker is None or requirement.marker.evaluate(on_linux):
            assert requirement.name not in versions
            versions[requirement.name] = str(requirement.specifier).removeprefix("==")
    extras = PROJECT["optional-dependencies"]
    for requirement in [*RUNTIME, *map(Requirement, [*extras["sign"], *extras["serve"]])]:
        assert requirement.specifier.contains(versions[requirement.name]), requirement


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    oldest = dict(re.findall(r"^([\w-]+)==(\S+)", OLDEST, re.MULTILINE))
    extras = PROJECT["optional-dependencies"]
    tested = ("plots", "sign", "serve", "dicom", "heic", "test")
    named = [line for extra in tested for line in extras[extra]]
    for line in (*PROJECT["dependencies"], *named):
        requirement = Requirement(line)
        if requirement.name != PROJECT["name"]:
            (bound,) = requirement.specifier
            assert bound.operator == ">="
            assert re.fullmatch(rf"{re.escape(bound.version)}(\.\d+)*", oldest[requirement.name]), line


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the records of the runtime's packages."""
    folder = tmp_path_factory.mktemp("environment")
    EnvBuilder(symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for requirement in RUNTIME:
        package = distribution(requirement.name)
        metadata = next(file for file in package.files or [] if file.name == "METADATA")
        (packages / metadata.parent).symlink_to(package.locate_file(metadata.parent))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def document(python: Path) -> str:
    return str(sbom["bill_of_materials"](python))


def components(document: str) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in json.loads(document)["components"]}


def test_the_document_is_valid_and_the_same_again(document: str, python: Path) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    assert sbom["bill_of_materials"](python) == document


def test_the_document_holds_the_packages_and_nothing_of_this_machine(document: str) -> None:
    found = {name: one["version"] for name, one in components(document).items() if one["type"] == "library"}
    assert found == {requirement.name: version(requirement.name) for requirement in RUNTIME}
    assert json.loads(document)["metadata"]["component"]["version"] == PROJECT["version"]
    assert "file:" not in document
    assert str(ROOT) not in document
    assert {"serialNumber", "timestamp"} & {*json.loads(document), *json.loads(document)["metadata"]} == set()


@pytest.mark.parametrize("folder", ["default", "lite"])
def test_a_shipped_network_is_a_component_with_the_hash_of_each_file(document: str, folder: str) -> None:
    bundle = open_bundle(folder)
    model = components(document)[bundle.manifest.name]
    assert (model["type"], model["version"]) == ("machine-learning-model", bundle.manifest.version)
    hashes = {file["name"]: file["hashes"][0]["content"] for file in model["components"]}
    path = f"edgeskin/models/{folder}"
    expected = {f"{path}/{name}": record.sha256 for name, record in bundle.manifest.files.items()}
    assert hashes == {**expected, f"{path}/manifest.json": bundle.sha256}
    assert all((ROOT / one["url"]).is_file() for one in model["externalReferences"])
    root = next(one for one in json.loads(document)["dependencies"] if one["ref"] == "root-component")
    assert model["bom-ref"] in root["dependsOn"]
