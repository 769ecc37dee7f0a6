"""Photos and options of a request: what multipart may hold, and that nothing is written to disk."""

import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from edgeskin.service import uploads
from tests.edgeskin.service.conftest import Service, command, plain, wait_until

BOUNDARY = "b0undary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, filename: str | None = None, more: str = "") -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def test_a_body_and_a_part_are_the_same_photo(service: Service, lesion: bytes) -> None:
    raw = service.client.post("/v1/assess", content=lesion, headers={"Content-Type": "image/jpeg"})
    form = service.client.post("/v1/assess", files={"photo": ("photo", lesion)})
    assert raw.status_code == form.status_code == 200
    assert plain(raw.json()) == plain(form.json())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("lesion.jpg", "lesion.jpg"),
        ("C:\\Users\\Doe\\lesion.jpg", "lesion.jpg"),
        ("/home/doe/lesion.jpg", "lesion.jpg"),
        ("folder/", "photo"),
        ("", "photo"),
        ("Läsion 1.jpg", "Läsion 1.jpg"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_photo_has_the_base_name_of_its_file(
    given: str, named: str, service: Service, lesion: bytes
) -> None:
    body = part("photo", lesion, given) + END
    answer = service.client.post("/v1/assess", content=body, headers=MULTIPART)
    assert answer.json()["image"] == named


def test_a_body_in_chunks_is_read(service: Service, lesion: bytes) -> None:
    pieces = (lesion[start : start + 1000] for start in range(0, len(lesion), 1000))
    answer = service.client.post("/v1/assess", content=pieces)
    assert answer.status_code == 200
    assert answer.json()["status"] == "assessed"


def test_options_are_in_the_query_or_the_form(service: Service, lesion: bytes) -> None:
    files = {"photo": ("photo", lesion)}
    query = service.client.post("/v1/assess?age=35&seed=2&mc_dropout=5", files=files)
    form = service.client.post("/v1/assess?age=35", files=files, data={"seed": "2", "mc_dropout": "5"})
    assert query.status_code == 200
    assert query.json()["uncertainty"]["samples"] == 5
    assert plain(query.json()) == plain(form.json())


@pytest.mark.parametrize(
    "body",
    [
        END,
        b"",
        b"no boundary at all",
        part("photo", b"x", "a.jpg") + part("photo", b"x", "b.jpg") + END,
        part("photo", b"x", "a.jpg") + part("other", b"x", "b.jpg") + END,
        part("photo", b"x") + END,
        part("photo", b"x", "a.jpg"),
        part("photo", b"x" * 1000, "a.jpg")[:-500],
        part("photo", b"x", "a.jpg") + part("unknown", b"1") + END,
        part("photo", b"x", "a.jpg") + part("age", b"30") + part("age", b"30") + END,
        part("photo", b"x", "a.jpg") + part("age", b"3" * 2000) + END,
        part("photo", b"x", "a.jpg") + part("age", b"x") * 50 + END,
        part("photo", b"x", "a.jpg") * 50 + END,
        b"--b0undary\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
        b"--b0undary\r\n\r\n\r\nx\r\n" + END,
        b"--b0undary\r\nbroken header\r\n\r\nx\r\n" + END,
    ],
    ids=[
        "no-part", "empty", "no-boundary", "two-photos", "other-part", "photo-without-file-name", "no-end",
        "cut-off", "unknown-option", "option-twice", "long-option", "many-options", "many-photos", "no-name",
        "no-disposition", "broken-head",
    ],
)  # fmt: skip
def test_malformed_multipart_is_refused(body: bytes, service: Service) -> None:
    answer = service.client.post("/v1/assess", content=body, headers=MULTIPART)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")


@pytest.mark.parametrize(
    "charset", ["undefined", "punycode", "unicode_escape", "utf-7", "idna", "hex", "none-such", "utf-8"]
)
def test_names_are_utf_8_whatever_the_header_says(charset: str, service: Service, lesion: bytes) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}; charset={charset}"}
    for name, named in (("Läsion+2AA-\\ud800.jpg", "ud800.jpg"), ("Läsion+2AA-.jpg", "Läsion+2AA-.jpg")):
        body = part("photo", lesion, name) + END
        answer = service.client.post("/v1/assess", content=body, headers=headers)
        assert (answer.status_code, answer.json()["image"]) == (200, named)


@pytest.mark.parametrize("boundary", ["", '""', "x" * 71, '"a\\"b"', "<a>", "a\u00e4"])
def test_an_odd_boundary_is_refused(boundary: str, service: Service) -> None:
    kind = f"multipart/form-data; boundary={boundary}".encode("latin-1")
    answer = service.client.post("/v1/assess", content=END, headers={b"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")


def test_multipart_without_a_boundary_is_refused(service: Service) -> None:
    answer = service.client.post("/v1/assess", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("?unknown=1", {}),
        ("?age=30&age=30", {}),
        ("?age=30", {"age": "30"}),
        ("?photo=x", {}),
    ],
    ids=["unknown", "twice", "in-both", "photo-in-the-query"],
)
def test_an_unclear_option_is_refused(
    query: str, data: dict[str, Any], service: Service, lesion: bytes
) -> None:
    answer = service.client.post(f"/v1/assess{query}", files={"photo": ("photo", lesion)}, data=data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")


def test_an_empty_photo_is_an_error_of_the_photo(service: Service) -> None:
    raw = service.client.post("/v1/assess", content=b"")
    form = service.client.post("/v1/assess", files={"photo": ("a.jpg", b"")})
    for answer in (raw, form):
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "empty_file")
        assert answer.json()["status"] == "error"


def test_a_client_that_leaves_within_its_body_costs_nothing(service: Service, lesion: bytes) -> None:
    head = f"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(lesion) + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head.encode() + lesion)
    wait_until(lambda: 'route="/v1/assess",status="499"' in service.client.get("/metrics").text)
    assert service.client.post("/v1/assess", content=lesion).status_code == 200


def test_the_files_of_a_form_never_leave_memory(
    service: Service, noise_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No temporary file can be made here at all."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert len(noise_png) > 10_000_000
    answer = service.client.post("/v1/assess", files={"photo": ("noise.png", noise_png)})
    assert answer.status_code == 200
    # The same upload is refused where the size at which Starlette spools is its own.
    monkeypatch.setattr(uploads._InMemoryParser, "spool_max_size", 2**20)  # noqa: SLF001
    answer = service.client.post("/v1/assess", files={"photo": ("noise.png", noise_png)})
    assert answer.status_code == 500


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="without /proc")
def test_no_upload_is_written_to_disk(shared_micro_bundle: Path, tmp_path: Path, noise_png: bytes) -> None:
    """The process opens no file for writing while it works, and has written no byte to disk by its end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    with command(shared_micro_bundle, TMPDIR=str(folder)) as served:
        process = Path(f"/proc/{served.process.pid}")
        served.client.post("/v1/assess", files={"photo": ("noise.png", noise_png)})
        before, written = _files(process), _written(process)
        seen: set[str] = set()
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                seen.update(_files(process), map(str, folder.iterdir()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for path in ("/v1/assess", "/v1/explain", "/v1/report", "/v1/quality", "/v1/assess/batch"):
                answer = served.client.post(path, files={"photo": ("noise.png", noise_png)})
                assert answer.status_code == 200
            assert served.client.post("/v1/assess", content=noise_png).status_code == 200
        finally:
            done.set()
            watcher.join()
        assert seen <= before
        assert list(folder.iterdir()) == []
        assert _written(process) == written


def _files(process: Path) -> set[str]:
    """The files that a process has open for writing, without pipes, sockets and devices."""
    found = set()
    for link in (process / "fd").iterdir():
        try:
            target = str(link.readlink())
            info = (process / "fdinfo" / link.name).read_text()
        except OSError:  # closed meanwhile
            continue
        flags = int(info.partition("flags:")[2].split()[0], 8)
        is_written = flags & (os.O_WRONLY | os.O_RDWR) != 0
        if is_written and target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found.add(target)
    return found


def _written(process: Path) -> int:
    """Bytes that a process has caused to be written to disk (proc(5), io: write_bytes)."""
    lines = (process / "io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])
