"""Pictures and tables in a store: moto answers as S3 does, and boto3 is the other client."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.batch.ledger import open_ledger
from edgeskin.batch.runner import PartSettings, Summary, run
from edgeskin.cli.batch import predict_into
from edgeskin.errors import PhotoError, ResourceError, SettingError
from edgeskin.photo.listing import PhotoRef, list_photos
from edgeskin.photo.remote import RemoteFolder, Url, is_url, photos_at, read_url, uploaded

boto3 = pytest.importorskip("boto3", reason="the extra reference is not installed")
server = pytest.importorskip("moto.server", reason="the extra reference is not installed")
pytest.importorskip("s3fs", reason="the extra cluster is not installed")

pytestmark = pytest.mark.hazard("H-14")
NAMES = ("a/2.png", "a/10.png", "a/notes.txt", "a/sub/3.png", "a/sub/._4.png", "b/5.png")


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A client of a store that is empty but for the bucket ``skin``."""
    moto = server.ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    settings = {
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    import fsspec.config

    fsspec.config.set_conf_env(fsspec.config.conf)
    client = boto3.client("s3", endpoint_url=settings["FSSPEC_S3_ENDPOINT_URL"])
    client.create_bucket(Bucket="skin")
    yield client
    fsspec.config.conf.pop("s3")
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    moto.stop()


def picture(number: int) -> bytes:
    image = np.random.default_rng(number).integers(60, 200, (70, 70, 3), dtype=np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="module")
def filled(store: Any) -> Any:
    for number, name in enumerate(NAMES):
        store.put_object(Bucket="skin", Key=name, Body=picture(number) if name.endswith("png") else b"text")
    return store


@pytest.fixture(scope="module")
def part_settings(shared_micro_bundle: Path) -> Iterator[PartSettings]:
    with Classifier(shared_micro_bundle, threads=1, quality_gate=False) as opened:
        yield PartSettings(opened, "jsonl")


def keys(store: Any, prefix: str) -> list[str]:
    listed = store.list_objects_v2(Bucket="skin", Prefix=prefix)
    return [one["Key"] for one in listed.get("Contents", [])]


@pytest.mark.parametrize("text", ["s3://b/k.jpg", "S3://b", "https://b/k", "git+ssh://b"])
def test_addresses(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize("text", ["/a/b", "a", "C:\\a", "C:/a", "s3:/b", "://b", "a b://c", "./s3://b"])
def test_paths_are_no_addresses(text: str) -> None:
    assert not is_url(text)


def test_parts_of_an_address() -> None:
    url = Url("s3://skin/runs/results.csv")
    assert (url.name, url.suffix) == ("results.csv", ".csv")
    assert str(url.with_name("x.csv")) == "s3://skin/runs/x.csv"
    assert str(url / "part") == "s3://skin/runs/results.csv/part"


@pytest.mark.parametrize(
    ("source", "recursive", "expected"),
    [
        ("s3://skin/a", False, ["a/10.png", "a/2.png"]),
        ("s3://skin/a/", False, ["a/10.png", "a/2.png"]),
        ("s3://skin/a", True, ["a/10.png", "a/2.png", "a/sub/3.png"]),
        ("s3://skin", True, ["a/10.png", "a/2.png", "a/sub/3.png", "b/5.png"]),
        ("s3://skin/*/[0-9].png", False, ["a/2.png", "b/5.png"]),
        ("s3://skin/**/*.png", False, ["a/10.png", "a/2.png", "a/sub/._4.png", "a/sub/3.png", "b/5.png"]),
    ],
)  # fmt: skip
def test_what_addresses_list(filled: Any, source: str, recursive: bool, expected: list[str]) -> None:
    found = list(photos_at(source, recursive=recursive))
    assert [one.url for one in found] == [f"s3://skin/{name}" for name in expected]
    for one in found:
        head = filled.head_object(Bucket="skin", Key=one.url.removeprefix("s3://skin/"))
        assert one.version == (head["ContentLength"], head["ETag"])


@pytest.mark.parametrize("source", ["s3://skin/a/2.png", "s3://skin/none", "s3://skin/none/*.png"])
def test_a_single_object_and_nothing_stand_for_themselves(filled: Any, source: str) -> None:
    assert [one.url for one in photos_at(source)] == [source]


def test_what_is_skipped_is_said(filled: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        list(photos_at("s3://skin/a"))
        assert len(caplog.records) == 2
        list(photos_at("s3://skin/a", quiet=True))
    assert len(caplog.records) == 2


def test_a_store_that_cannot_be_listed_ends_the_run(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.config

    monkeypatch.setitem(fsspec.config.conf["s3"], "endpoint_url", "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(ResourceError) as caught:
        list(photos_at("s3://skin/*.png"))
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "https://a/b", "file:///etc/passwd", "zip://a::b"])
def test_other_protocols_are_refused(url: str) -> None:
    with pytest.raises(SettingError, match="s3://"):
        list(photos_at(url))
    with pytest.raises(PhotoError) as caught:
        read_url(url)
    assert caught.value.code == "unreadable"


def test_a_picture_is_read_as_it_was_put(filled: Any) -> None:
    assert PhotoRef("a", "s3://skin/a/2.png").source() == picture(0)
    fetched = PhotoRef("a", "s3://skin/a/2.png").fetched()
    assert (fetched.source(), fetched.name) == (picture(0), "a")


def test_what_cannot_be_read_is_an_error_of_its_picture(filled: Any) -> None:
    missing = PhotoRef("a", "s3://skin/a/none.png")
    for photo in (missing, missing.fetched()):
        with pytest.raises(PhotoError) as caught:
            photo.source()
        assert caught.value.code == "not_found"
    filled.put_object(Bucket="skin", Key="c/empty.png", Body=b"")
    with pytest.raises(PhotoError) as caught:
        read_url("s3://skin/c/empty.png")
    assert caught.value.code == "empty_file"


def run_to(url: str, part_settings: PartSettings, sources: list[str], stop_after: int = 99) -> Summary:
    asked = iter(range(10**6))
    photos = list_photos(sources, recursive=True)
    return run(photos, part_settings, Url(url), part_size=2, should_stop=lambda: next(asked) >= stop_after)


def test_a_run_from_store_to_store_goes_on_and_leaves_the_table_alone(
    filled: Any, part_settings: PartSettings
) -> None:
    out = "s3://skin/out/results.jsonl"
    first = run_to(out, part_settings, ["s3://skin/a", "s3://skin/b"], stop_after=1)
    assert (first.is_finished, first.computed) == (False, 2)
    assert [name.rpartition("/")[2][:5] for name in keys(filled, "out/")] == ["part-", "run.j"]
    second = run_to(out, part_settings, ["s3://skin/a", "s3://skin/b"])
    assert (second.is_finished, second.computed, second.statuses) == (True, 2, {"assessed": 4})
    assert keys(filled, "out/") == ["out/results.jsonl"]
    body = filled.get_object(Bucket="skin", Key="out/results.jsonl")["Body"].read()
    rows = [json.loads(line) for line in body.splitlines()]
    assert [row["image"] for row in rows] == [
        f"s3://skin/{name}" for name in ("a/10.png", "a/2.png", "a/sub/3.png", "b/5.png")
    ]
    assert rows[1]["probabilities"] == part_settings.classifier.assess(picture(0)).probabilities


def test_an_object_that_changed_is_assessed_again(filled: Any, part_settings: PartSettings) -> None:
    filled.put_object(Bucket="skin", Key="d/1.png", Body=picture(1))
    filled.put_object(Bucket="skin", Key="d/2.png", Body=b"no picture")  # which keeps the ledger
    out = "s3://skin/out/changed.jsonl"
    assert run_to(out, part_settings, ["s3://skin/d"]).computed == 2
    assert run_to(out, part_settings, ["s3://skin/d"]).computed == 0
    filled.put_object(Bucket="skin", Key="d/1.png", Body=picture(2))
    assert run_to(out, part_settings, ["s3://skin/d"]).computed == 1


def test_another_job_is_refused_in_a_store_too(store: Any) -> None:
    out = Url("s3://skin/out/job.csv")
    with open_ledger(out, {"a": 1}) as ledger:
        ledger.write("k", [{"image": "x"}])
    with pytest.raises(SettingError, match=r"\(a\)"), open_ledger(out, {"a": 2}):
        pass
    with open_ledger(out, {"a": 1}) as ledger:
        assert ledger.read("k") == [{"image": "x"}]
        assert ledger.read("none") is None
        ledger.remove()
    assert keys(store, "out/job.csv") == []


def test_a_list_on_this_machine_may_name_objects(
    filled: Any, part_settings: PartSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "local.png").write_bytes(picture(7))
    os.utime(tmp_path / "local.png", (1_600_000_000, 1_600_000_000))
    listed = tmp_path / "list.csv"
    listed.write_text("path,label\nlocal.png,NV\ns3://skin/a/2.png,MEL\ns3://skin/none.png,NV\n", "utf-8")
    out = tmp_path / "results.jsonl"
    code = predict_into(out, [str(listed)], False, lambda: part_settings.classifier, {}, False)
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert code == 1
    assert [row["status"] for row in rows] == ["assessed", "assessed", "error"]
    assert rows[2]["error"]["code"] == "not_found"
    assert rows[1]["image"] == "s3://skin/a/2.png"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_other_forms_are_uploaded_whole(
    filled: Any, part_settings: PartSettings, tmp_path: Path, form: str
) -> None:
    out = Url(f"s3://skin/forms/results.{form}")
    predict_into(out, ["s3://skin/a/2.png"], False, lambda: part_settings.classifier, {}, False)
    local = tmp_path / f"results.{form}"
    predict_into(local, ["s3://skin/a/2.png"], False, lambda: part_settings.classifier, {}, False)
    body = filled.get_object(Bucket="skin", Key=f"forms/results.{form}")["Body"].read()
    if form == "csv":
        cells, expected = (text.splitlines()[1].split(",") for text in (body.decode(), local.read_text()))
        assert len(cells) == len(expected)
        assert cells[:5] == expected[:5]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow

        found = parquet.read_table(pyarrow.BufferReader(body)).drop_columns(["total_ms"])
        assert found == parquet.read_table(local).drop_columns(["total_ms"])


def test_a_table_that_fails_on_the_way_is_not_uploaded(store: Any) -> None:
    file = uploaded(Url("s3://skin/half.csv"))
    file.__enter__().write(b"half")
    file.__exit__(ValueError, ValueError("midway"), None)
    assert keys(store, "half") == []
    with pytest.raises(ResourceError) as caught, uploaded(Url("s3://another-bucket/half.csv")) as file:
        file.write(b"whole")
    assert caught.value.code == "not_written"


def test_a_part_that_could_not_be_deleted_is_not_another_jobs(
    filled: Any, part_settings: PartSettings, shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteFolder, "delete", lambda self, names: None)
    out = "s3://skin/kept/results.jsonl"
    run_to(out, part_settings, ["s3://skin/a"])
    filled.delete_object(Bucket="skin", Key="kept/results.jsonl.parts/run.json")
    with Classifier(shared_micro_bundle, "fp32", threads=1, quality_gate=False) as other:
        assert run_to(out, PartSettings(other, "jsonl"), ["s3://skin/a"]).computed == 3


@pytest.mark.parametrize("name", ["run.json", "part-*"])
def test_a_ledger_that_cannot_be_read_ends_the_run_and_stays(
    filled: Any, part_settings: PartSettings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = "s3://skin/outage/results.jsonl"
    run_to(out, part_settings, ["s3://skin/a"], stop_after=1)
    before = keys(filled, "outage/")
    read = RemoteFolder.read

    def failing(self: RemoteFolder, wanted: str) -> bytes:
        if fnmatch(wanted, name):
            raise OSError("slow down")
        return read(self, wanted)

    monkeypatch.setattr(RemoteFolder, "read", failing)
    with pytest.raises(ResourceError) as caught:
        run_to(out, part_settings, ["s3://skin/a"])
    assert caught.value.code == "unreadable"
    assert keys(filled, "outage/") == before


def test_a_store_that_goes_away_ends_the_run(
    filled: Any, part_settings: PartSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [PhotoRef(str(number), "s3://skin/a/2.png") for number in range(24)]
    fetched, asked = PhotoRef.fetched, iter(range(10**6))

    def failing(self: PhotoRef) -> PhotoRef:
        if next(asked) < 8:
            return fetched(self)
        return replace(self, refusal=PhotoError("the network is away", "unreadable"))

    monkeypatch.setattr(PhotoRef, "fetched", failing)
    out = tmp_path / "results.jsonl"
    with pytest.raises(ResourceError) as caught:
        run(photos, part_settings, out, part_size=8)
    assert caught.value.code == "unreadable"
    assert not out.exists()
    monkeypatch.undo()
    assert run(photos, part_settings, out, part_size=8).computed == 16


def test_a_run_lists_none_of_its_own_objects_and_overwrites_no_source(
    filled: Any, part_settings: PartSettings
) -> None:
    for number in range(2):
        filled.put_object(Bucket="skin", Key=f"own/{number}.png", Body=picture(number))
    out = Url("s3://skin/own/results.jsonl")
    for _ in range(2):
        assert (
            predict_into(out, ["s3://skin/own/**"], False, lambda: part_settings.classifier, {}, False) == 0
        )
    body = filled.get_object(Bucket="skin", Key="own/results.jsonl")["Body"].read()
    assert len(body.splitlines()) == 2
    with pytest.raises(SettingError):
        predict_into(out, [str(out)], False, lambda: part_settings.classifier, {}, False)


@pytest.mark.parametrize("name", ["list.csv", "list.PARQUET", "archive.zip"])
def test_lists_and_archives_in_a_store_are_refused(filled: Any, name: str) -> None:
    with pytest.raises(SettingError):
        list(photos_at(f"s3://skin/{name}"))
