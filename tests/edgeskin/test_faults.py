"""Faults of the machine around a Classifier, and outputs of the network that are not finite."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from edgeskin import BundleError, Classifier, EdgeskinError, open_bundle
from tests.conftest import MICRO_SIZE, ROOT, micro_head, micro_network, write_manifest, write_micro_bundle

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


def with_added(model: openvino.Model, name: str, values: np.ndarray | openvino.Node) -> openvino.Model:
    """The network with something added to one of its outputs."""
    output = model.output(name).get_node().input_value(0)
    output.get_tensor().set_names(set())
    added = ops.add(output, values)
    added.output(0).get_tensor().set_names({name})
    others = [result for result in model.get_results() if result.input_value(0) != output]
    return openvino.Model([*others, ops.result(added)], model.get_parameters(), "added")


def ship(model: openvino.Model, bundle: Path, views: int = 8, **changes: object) -> None:
    """Put a network into a micro-bundle."""
    openvino.save_model(model, bundle / "int8.xml", compress_to_fp16=False)
    write_manifest(bundle, preprocessing={"size": MICRO_SIZE, "views": views}, **changes)


def refused(classifier: Classifier, image: Path | np.ndarray, **options: object) -> bool:
    """Whether a picture is an error without a risk or a map, alone and among many."""
    with np.errstate(all="ignore"):
        with pytest.raises(EdgeskinError) as caught:
            classifier.assess(image, **options)  # type: ignore[arg-type]
        (result,) = classifier.assess_many([image], **options)  # type: ignore[arg-type]
    assert result.error is not None
    assert (result.risk, result.explanation, result.cancer_probability) == (None, None, None)
    return caught.value.code == result.error.code == "not_finite"


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize(
    ("name", "shape"), [("logits", (4, 8)), ("features", (4, 16)), ("fmap", (4, 16, 8, 8))]
)
def test_one_number_of_one_view_is_enough(
    micro_bundle: Path, lesion_jpg: Path, name: str, shape: tuple[int, ...], value: float
) -> None:
    """Of views in batches of four, the third. Without an explanation nobody reads the feature maps."""
    added = np.zeros(shape, np.float32)
    added[(2, 5, 3, 3)[: len(shape)]] = value
    ship(with_added(micro_network(0), name, added), micro_bundle, ood=None)
    classifier = Classifier(micro_bundle, quality_gate=False)
    assert refused(classifier, lesion_jpg, explain="grad-cam")
    if name == "fmap":
        assert classifier.assess(lesion_jpg).status == "assessed"
    else:
        assert refused(classifier, lesion_jpg)
        assert refused(classifier, lesion_jpg, mc_samples=5)


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "layer-cam", "eigen-cam"])
def test_no_method_maps_what_is_not_finite(micro_bundle: Path, lesion_jpg: Path, method: str) -> None:
    added = np.zeros((1, 16, 8, 8), np.float32)
    added[0, 0, 0, 0] = np.nan
    ship(with_added(micro_network(0), "fmap", added), micro_bundle, views=1)
    assert refused(Classifier(micro_bundle, quality_gate=False), lesion_jpg, explain=method)


@pytest.mark.parametrize("target", ["cancer", "NV"])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_occluded_picture_without_a_finite_answer_has_no_map(
    micro_bundle: Path, target: str, sign: int
) -> None:
    """The logit of nevus overflows once the black corner is hidden; clipped, that shows no evidence."""
    model = micro_network(0)
    image = model.get_parameters()[0]
    corner = ops.slice(image, *(np.array(four) for four in ([0, 0, 0, 0], [99, 1, 1, 1], [1, 1, 1, 1])))
    power = ops.multiply(ops.convert(ops.reshape(corner, np.array([-1, 1]), False), "f32"), np.float32(100))
    overflow = ops.multiply(ops.exp(power), np.float32(sign))  # 1 for black, else infinite
    one_hot = np.zeros((1, 8), np.float32)
    one_hot[0, 1] = 1
    # 0 times infinity is not a number, so that other classes are selected instead of multiplied.
    added = ops.select(ops.constant(one_hot > 0), overflow, ops.constant(np.float32(0)))
    ship(with_added(model, "logits", added), micro_bundle, views=1, ood=None)
    picture = np.full((MICRO_SIZE, MICRO_SIZE, 3), (200, 150, 130), np.uint8)
    cv2.circle(picture, (32, 32), 12, (90, 60, 50), cv2.FILLED)
    picture[0, 0] = 0
    classifier = Classifier(micro_bundle, quality_gate=False)
    assert classifier.assess(picture, explain="grad-cam").status == "assessed"
    assert refused(classifier, picture, explain="occlusion", target=target)


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("options", [{"mc_samples": 5}, {"explain": "grad-cam", "target": "MEL"}])
def test_a_head_that_overflows_is_an_error(
    micro_bundle: Path, lesion_jpg: Path, options: dict[str, object]
) -> None:
    head = micro_head()
    for name in ("linear1_weight", "linear2_weight"):
        head[name] = np.sign(head[name]) * np.float32(1e38)
    np.savez(micro_bundle / "head.npz", **head)
    write_manifest(micro_bundle)
    classifier = Classifier(micro_bundle, quality_gate=False)
    assert refused(classifier, lesion_jpg, **options)
    assert classifier.assess(lesion_jpg).status == "assessed"


@pytest.mark.hazard("H-16")
def test_an_ood_score_of_features_that_overflow_is_an_error(micro_bundle: Path, lesion_jpg: Path) -> None:
    """Their squares do; at a length of infinity they would count as the zero vector."""
    added = np.full((1, 16), 1e30, np.float32)
    ship(with_added(micro_network(0), "features", added), micro_bundle, views=1)
    assert refused(Classifier(micro_bundle, quality_gate=False), lesion_jpg)


@pytest.mark.hazard("H-07")
def test_a_running_classifier_keeps_its_bundle(tmp_path: Path, lesion_jpg: Path) -> None:
    """A new one opens what is there now, or refuses it."""
    folder = write_micro_bundle(tmp_path / "bundle")
    classifier = Classifier(folder, quality_gate=False)
    before = classifier.assess(lesion_jpg, explain="grad-cam", mc_samples=5)
    for name in ("int8.xml", "int8.bin"):  # half of an update
        shutil.copy(folder / name.replace("int8", "fp32"), folder / name)
    with pytest.raises(BundleError, match="int8"):
        Classifier(folder)
    assert classifier.assess(lesion_jpg).probabilities == before.probabilities
    write_manifest(folder)
    after = Classifier(folder, quality_gate=False).assess(lesion_jpg)
    assert after.probabilities != before.probabilities
    assert after.model.sha256 != before.model.sha256
    shutil.rmtree(folder)
    with pytest.raises(BundleError):
        Classifier(folder)
    again = classifier.assess(lesion_jpg, explain="grad-cam", mc_samples=5)
    assert again.to_dict() | {"timing_ms": 0} == before.to_dict() | {"timing_ms": 0}


@pytest.mark.hazard("H-07")
def test_an_open_bundle_does_not_mix_with_its_successor(micro_bundle: Path) -> None:
    opened = open_bundle(micro_bundle)
    shutil.copy(micro_bundle / "fp32.xml", micro_bundle / "int8.xml")
    openvino.save_model(micro_network(5), micro_bundle / "int8.xml", compress_to_fp16=False)
    write_manifest(micro_bundle)
    with pytest.raises(BundleError):
        Classifier(opened)
    Classifier(micro_bundle).close()


def in_shell(script: str, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a shell script in which ``edgeskin`` is the command, and ``$1`` the first argument."""
    command = f'edgeskin() {{ "{sys.executable}" -m edgeskin "$@"; }}\n{script}'
    places = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", command, "bash", *map(str, arguments)],
        capture_output=True, check=False, timeout=120, env=places,
    )  # fmt: skip


@ON_LINUX
@pytest.mark.parametrize(
    "setting",
    [
        "unset HOME XDG_CACHE_HOME",
        "export TMPDIR=/there/is/no/such/folder",
        "exec 0<&-",
        "export LANG=C LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
        'mkdir "$3/gone" && cd "$3/gone" && rmdir "$3/gone"',
        "ulimit -n 32",
        "export HOME=/dev/null XDG_CACHE_HOME=/dev/null",
    ],
    ids=["no home", "no folder for temporary files", "stdin closed", "C locale", "no working folder",
         "32 descriptors", "no cache folder"],
)  # fmt: skip
def test_an_odd_environment_changes_nothing(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, setting: str
) -> None:
    """Forty pictures, so that a descriptor that leaks would run out."""
    predict = 'edgeskin predict --json --bundle "$1" $(yes "$2" | head -40)'
    done = in_shell(f"{setting}; {predict}", shared_micro_bundle, lesion_jpg, tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in results] == ["assessed"] * 40
    assert len({one["cancer_probability"] for one in results}) == 1


@ON_LINUX
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_that_are_no_text_are_read_and_reported(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, locale: str
) -> None:
    (tmp_path / "inside").mkdir()
    for name in (b"\xff.jpg", b"inside/\xfe\xe9.jpg"):
        shutil.copy(lesion_jpg, os.fsencode(tmp_path) + b"/" + name)
    script = """cd "$2" && edgeskin predict $'\\xff.jpg' inside $'\\xfd.jpg' --bundle "$1" --json --explain .
        code=$?; edgeskin report $'\\xff.jpg' --bundle "$1" -o r.html -o r.json -o r.png >&2; exit $code"""
    settings = {"LANG": locale, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = in_shell(script, shared_micro_bundle, tmp_path, **settings)
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    results = [json.loads(line) for line in done.stdout.decode("ascii").splitlines()]
    assert [one["status"] for one in results] == ["assessed", "assessed", "error"]
    assert results[2]["error"]["code"] == "not_found"
    for name in ("r.html", "r.json"):
        (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "r.png").stat().st_size > 0


@pytest.mark.hazard("H-18")
@ON_LINUX
def test_a_fifo_is_refused_and_not_waited_for(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    results = list(Classifier(shared_micro_bundle).assess_many([tmp_path / "fifo.jpg", lesion_jpg]))
    assert [one.status for one in results] == ["error", "assessed"]
    assert results[0].error is not None
    assert results[0].error.code == "not_a_file"


@pytest.mark.hazard("H-14")
@ON_LINUX
def test_a_full_disk_is_one_error_after_the_answers(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """By a limit on the size of files, which a map exceeds."""
    script = 'ulimit -f 1; edgeskin predict "$2" --bundle "$1" --json --explain "$3/map.png"'
    done = in_shell(script, shared_micro_bundle, lesion_jpg, tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "assessed"
    assert b"Traceback" not in done.stderr
    assert os.strerror(errno.EFBIG).encode() in done.stderr


@ON_LINUX
def test_a_cache_on_a_full_disk_is_left_empty(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    mount = "mount -t tmpfs -o size=8k tmpfs /mnt"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no process may mount a file system here")
    script = f"""export -f edgeskin; unshare -rm bash -c '{mount} &&
        edgeskin predict "$1" --json --bundle "$0" --cache-dir /mnt/cache && ls -A /mnt/cache' "$1" "$2" """
    done = in_shell(script, shared_micro_bundle, lesion_jpg)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # and no file in the cache
    assert json.loads(line)["status"] == "assessed"


@ON_LINUX
def test_a_user_who_may_not_write_is_told(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """Maps and caches in a folder of another user: an error and no traceback; answers need no folder."""
    # Root without the capabilities that pass over permissions is a user like any other.
    user = "setpriv --bounding-set=-dac_override,-dac_read_search" if os.getuid() == 0 else ""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    if (
        in_shell(f'{user} touch "$1/x"', tmp_path).returncode
        or not in_shell(f'{user} touch "$1/x"', folder).returncode
    ):
        pytest.skip("no process may give up root's rights here")
    start = f'{user} "{sys.executable}" -m edgeskin predict "$2" --bundle "$1" --json'
    for option, code in (("", 0), ('--cache-dir "$3/cache"', 2), ('--explain "$3/map.png"', 1)):
        done = in_shell(f"{start} {option}", shared_micro_bundle, lesion_jpg, folder)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.hazard("H-02")
@ON_LINUX
def test_a_file_that_changes_while_it_is_read_is_an_answer_or_an_error(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    """A camera's transfer, for example: never a crash, and a whole file has its own answer."""
    photo, content = tmp_path / "photo.jpg", lesion_jpg.read_bytes()
    classifier = Classifier(shared_micro_bundle, quality_gate=False)
    whole = classifier.assess(content).cancer_probability
    done = threading.Event()

    def rewrite() -> None:
        while not done.is_set():
            for size in (len(content), 0, len(content) // 2, 10):
                photo.write_bytes(content[:size])

    photo.write_bytes(content)
    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        results = list(classifier.assess_many([photo] * 100))
    finally:
        done.set()
        writer.join()
    allowed = {"empty_file", "damaged", "cut_off", "unsupported_format"}
    assert {one.error.code for one in results if one.error is not None} <= allowed
    assert {one.cancer_probability for one in results if one.status == "assessed"} <= {whole}


def test_a_clock_that_goes_backwards_changes_no_answer(
    shared_micro_bundle: Path, lesion_jpg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times come from the monotonic clock; reports alone read the date."""
    clock = iter(range(10**6, 0, -1))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    result = Classifier(shared_micro_bundle).assess(lesion_jpg, explain="grad-cam")
    assert all(milliseconds >= 0 for milliseconds in result.timing_ms.values())


@pytest.mark.hazard("H-18")
@ON_LINUX
@pytest.mark.parametrize("megabytes", [200, 400, 600, 800, 1200])
def test_low_memory_ends_in_an_answer_or_an_error(
    shared_micro_bundle: Path, lesion_jpg: Path, megabytes: int
) -> None:
    """Of the address space. Never a wrong answer, and an exit code that says so."""
    script = f'ulimit -v {megabytes}000; edgeskin predict "$2" --bundle "$1" --json'
    done = in_shell(script, shared_micro_bundle, lesion_jpg)
    lines = done.stdout.splitlines()
    assert (done.returncode == 0) == ([json.loads(line)["status"] for line in lines] == ["assessed"])


@ON_LINUX
def test_a_tenth_of_a_cpu_is_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_micro_bundle: Path
) -> None:
    (tmp_path / "cpu.max").write_text("10000 100000")
    monkeypatch.setattr("edgeskin.network.cpu.CGROUP", tmp_path)
    with Classifier(shared_micro_bundle) as classifier:
        assert classifier.engine.threads == 1
