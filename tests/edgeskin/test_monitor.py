"""The command that finds drift: its output, files and exit codes, in processes of their own."""

import json
from pathlib import Path

import pytest

from edgeskin import Classifier
from tests.conftest import run_cli
from tests.edgeskin.series import draw, failed, write_table


@pytest.fixture(scope="module")
def tables(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A table of 400 pictures as reference, and one of 350 blurred ones, of which one could not be read."""
    folder = tmp_path_factory.mktemp("tables")
    with Classifier(shared_micro_bundle, threads=1) as classifier:
        usual = draw(classifier, lesion_jpg, 400, 1)
        blurred = draw(classifier, lesion_jpg, 350, 2, sharpness=-2)
        return (
            write_table(folder / "usual.csv", usual),
            write_table(folder / "blurred.jsonl", [*blurred, failed(usual[0])]),
        )


def test_drift_is_printed_and_written_with_exit_code_0(
    tables: tuple[Path, Path], shared_micro_bundle: Path, tmp_path: Path
) -> None:
    usual, blurred = tables
    page, record = tmp_path / "drift.html", tmp_path / "drift.json"
    arguments = ("monitor", blurred, "--reference", usual, "--bundle", shared_micro_bundle)
    done = run_cli(*arguments, "--out", page, "--out", record)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "DRIFT in 1 of 24 measures")
    assert "quality_sharpness" in done.stdout
    values = json.loads(record.read_bytes())
    assert (values["verdict"], values["pictures"], values["errors"]) == ("drift", 350, 1)
    assert page.read_text(encoding="utf-8").count("<h2>") == 24
    printed = json.loads(run_cli(*arguments, "--json").stdout)
    assert printed | {"created": ""} == values | {"created": ""}


def test_too_few_pictures_are_no_verdict_and_exit_code_0(
    tables: tuple[Path, Path], shared_micro_bundle: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.csv"
    few.write_text("\n".join(tables[0].read_text(encoding="utf-8").splitlines()[:51]), encoding="utf-8")
    done = run_cli("monitor", few, "--reference", tables[0], "--bundle", shared_micro_bundle, "--json")
    values = json.loads(done.stdout)
    assert (done.returncode, values["verdict"], values["pictures"], values["needed"]) == (
        0,
        "too_few",
        50,
        300,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("BLURRED",), 2, "--reference FILE"),
        (("BLURRED", "--reference", "USUAL"), 2, "--bundle"),
        (("BLURRED", "--reference", "USUAL", "--bundle", "MICRO", "--out", "drift.pdf"), 2, "drift.pdf"),
        (("BLURRED", "--reference", "USUAL", "--bundle", "MICRO", "--out", "no/drift.json"), 2, "folder"),
        (("BLURRED", "BLURRED", "--reference", "USUAL", "--bundle", "MICRO"), 2, "once"),
        (("USUAL", "--reference", "USUAL", "--bundle", "MICRO"), 2, "once"),
        (("none.csv", "--reference", "USUAL", "--bundle", "MICRO"), 2, "none.csv"),
        (("BLURRED", "--reference", "USUAL", "--bundle", "no"), 3, "no"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_exit_codes(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    tables: tuple[Path, Path],
    shared_micro_bundle: Path,
) -> None:
    named = {"USUAL": tables[0], "BLURRED": tables[1], "MICRO": shared_micro_bundle}
    done = run_cli("monitor", *(named.get(one, one) for one in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_never_replaces_a_table(tables: tuple[Path, Path], shared_micro_bundle: Path) -> None:
    content = tables[0].read_bytes()
    link = tables[0].with_name("link.json")
    link.symlink_to(tables[0])
    arguments = (tables[1], "--reference", tables[0], "--bundle", shared_micro_bundle, "--out", link)
    assert run_cli("monitor", *arguments).returncode == 2
    assert tables[0].read_bytes() == content
