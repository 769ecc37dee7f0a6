import concurrent.futures
import dataclasses
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from edgeskin.bundle.bundle import Precision, open_bundle
from edgeskin.bundle.ir import IR, ir_of
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.imaging.dihedral import views_of
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine, available_threads, instruction_set
from edgeskin.photo.decode import load_photo
from tests.conftest import MICRO_SIZE, micro_network

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(scope="module")
def engine(shared_micro_bundle: Path) -> Engine:
    return Engine(open_bundle(shared_micro_bundle).ir("fp32"))


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)


def by_hand(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The micro-network in numpy, with the weights that its generator draws."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(16, 3, 8, 8)).astype(np.float32) / 4
    weights = rng.normal(size=(16, 8)).astype(np.float32)
    blocks = (image.astype(np.float32) / 255).reshape(8, 8, 8, 8, 3)  # (row, y, column, x, channel)
    fmap = np.maximum(np.einsum("rycxk,fkyx->frc", blocks, kernel), 0)
    features = fmap.mean(axis=(1, 2))
    return features @ weights, features, fmap


def test_outputs_are_those_computed_by_hand(engine: Engine) -> None:
    image = pictures(1)[0]
    outputs = engine.infer(image, fmaps=True)
    assert engine.infer(image).fmaps is None
    logits, features, fmap = by_hand(image)
    for computed, expected in zip(
        (outputs.logits, outputs.features[0], outputs.fmaps[0]), (logits, features, fmap), strict=True
    ):
        np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-4)


def test_views_are_averaged_and_make_the_answer_the_same_for_every_turn(shared_micro_bundle: Path) -> None:
    engine = Engine(open_bundle(shared_micro_bundle).ir("fp32"), views=8)
    image = pictures(1)[0]
    outputs = engine.infer(image, fmaps=True)
    views = [np.rot90(side, quarters) for side in (image, image[:, ::-1]) for quarters in range(4)]
    logits, features, fmaps = zip(*map(by_hand, views), strict=True)
    np.testing.assert_allclose(outputs.logits, np.mean(logits, axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.features, features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.fmaps, fmaps, rtol=1e-4, atol=1e-4)
    for view in views[1:]:
        np.testing.assert_allclose(engine.infer(view).logits, outputs.logits, atol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_default_bundle_averages_every_view(precision: Precision, lesion_jpg: Path) -> None:
    """Eight passes of one view each, against the engine's own eight."""
    bundle = open_bundle()
    ir = bundle.ir(precision)
    settings = bundle.manifest.preprocessing
    image = preprocess(load_photo(lesion_jpg, settings.size).image, settings)
    together = Engine(ir, views=8).infer(image)
    one = Engine(ir)
    views = [np.rot90(side, quarters) for side in (image, image[:, ::-1]) for quarters in range(4)]
    alone = [one.infer(np.ascontiguousarray(view)) for view in views]
    np.testing.assert_allclose(together.logits, np.mean([a.logits for a in alone], axis=0), atol=1e-4)
    np.testing.assert_allclose(together.features, np.concatenate([a.features for a in alone]), atol=1e-4)
    assert np.std([a.logits for a in alone], axis=0).max() > 0.01


@pytest.mark.parametrize("count", [1, 4, 6])
def test_any_number_of_images_as_they_lie(shared_micro_bundle: Path, count: int) -> None:
    """Six do not fill two batches of four."""
    images = pictures(count)
    outputs = Engine(open_bundle(shared_micro_bundle).ir("fp32"), views=8).infer_each(images, fmaps=True)
    logits, features, fmaps = zip(*map(by_hand, images), strict=True)
    np.testing.assert_allclose(outputs.view_logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.features, features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.fmaps, fmaps, rtol=1e-4, atol=1e-4)


def test_results_survive_the_next_image(engine: Engine) -> None:
    first, second = pictures(2)
    kept = engine.infer(first, fmaps=True)
    before = [kept.view_logits.copy(), kept.features.copy(), kept.fmaps.copy()]
    engine.infer(second, fmaps=True)
    for now, then in zip((kept.view_logits, kept.features, kept.fmaps), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_threads_do_not_disturb_each_other(engine: Engine) -> None:
    images = pictures(40)
    alone = [engine.infer(image).logits for image in images]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: engine.infer(image).logits, images))
    np.testing.assert_array_equal(together, alone)


def test_each_stream_of_the_default_bundle_gives_the_same() -> None:
    """One compiled network of two streams did not, in some processes."""
    bundle = open_bundle()
    ir = bundle.ir("int8")
    size = bundle.manifest.preprocessing.size
    images = np.random.default_rng(3).integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    alone = [Engine(ir, threads=1).infer(image).logits for image in images]
    engine = Engine(ir, threads=2, streams=2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            together = list(pool.map(lambda image: engine.infer(image).logits, images))
            np.testing.assert_allclose(together, alone, atol=1e-4)


def test_every_stream_has_memory_of_its_own(shared_micro_bundle: Path) -> None:
    ir = open_bundle(shared_micro_bundle).ir("fp32")
    engine = Engine(ir, threads=3, streams=3)
    chains = [engine._free.get() for _ in range(3)]
    assert engine._free.empty()
    inputs = {chain[0].get_input_tensor().data.ctypes.data for chain in chains}
    assert len(inputs) == 3


class Meeting:
    """A request that runs only while another one does."""

    def __init__(self, request: openvino.InferRequest, meeting: threading.Barrier) -> None:
        self._request, self._meeting = request, meeting

    def infer(self, **options: bool) -> None:
        self._meeting.wait()
        self._request.infer(**options)

    def __getattr__(self, name: str) -> object:
        return getattr(self._request, name)


@pytest.mark.parametrize(("bundle", "precision"), [("micro", "fp32"), ("lite", "int8")])
def test_streams_that_are_free_share_the_views_of_one_picture(
    bundle: str, precision: Precision, shared_micro_bundle: Path
) -> None:
    """At once, for the same bits; a stream that somebody has is not waited for."""
    opened = open_bundle(shared_micro_bundle if bundle == "micro" else bundle)
    engine = Engine(opened.ir(precision), threads=2, views=8, streams=2)
    image = np.random.default_rng(1).integers(0, 256, engine.image_shape, dtype=np.uint8)
    chains = [engine._free.get() for _ in range(2)]
    engine._free.put(chains[0])
    alone = engine.infer(image, fmaps=True)
    assert engine._free.get(timeout=1) is chains[0]
    meeting = threading.Barrier(2, timeout=30)
    for chain in chains:
        engine._free.put([Meeting(request, meeting) for request in chain])
    shared = engine.infer(image, fmaps=True)
    worked_on = {chain[0].get_input_tensor().data.tobytes() for chain in chains}
    assert worked_on == {np.stack(views_of(image, 8)[first : first + 4]).tobytes() for first in (0, 4)}
    for one, other in zip(dataclasses.astuple(shared), dataclasses.astuple(alone), strict=True):
        np.testing.assert_array_equal(one, other)
    assert engine._free.qsize() == 2


def test_streams_serve_a_thread_that_outlives_the_main_one(shared_micro_bundle: Path) -> None:
    """Python gives such a thread no pool of threads. And the first pictures of a process may come together:
    about one such process in four hung for ever in OpenVINO's first look at a tensor."""
    code = f"""
import threading, time
import numpy as np
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.engine import Engine
engine = Engine(open_bundle({str(shared_micro_bundle)!r}).ir("fp32"), threads=2, views=8, streams=2)
image = np.zeros(engine.image_shape, np.uint8)

def late():
    threading.main_thread().join()
    print(engine.infer(image).view_logits.shape, engine._free.qsize())

threading.Thread(target=late).start()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "(8, 8) 2"


@pytest.mark.parametrize("image", [(64, 64, 1), (1, 1, 3), (65, 64, 3), (64, 64)])
def test_images_of_another_form_are_refused(engine: Engine, image: tuple[int, ...]) -> None:
    """Some of these numpy would spread over the network's input."""
    with pytest.raises(EdgeskinError, match="this network takes uint8"):
        engine.infer_each(np.zeros((2, *image), np.uint8))
    with pytest.raises(EdgeskinError, match="this network takes uint8"):
        engine.infer(np.zeros((64, 64, 3), np.float32))
    assert engine.infer(pictures(1)[0]).logits.shape == (8,)


class Failing:
    def get_input_tensor(self) -> None:
        raise RuntimeError("out of memory")


def test_an_error_of_openvino_leaves_the_stream_free(shared_micro_bundle: Path) -> None:
    ir = open_bundle(shared_micro_bundle).ir("fp32")
    engine = Engine(ir)
    works = engine._free.get()
    engine._free.put([Failing()])
    with pytest.raises(EdgeskinError, match="OpenVINO failed on this image: out of memory"):
        engine.infer(pictures(1)[0])
    assert isinstance(engine._free.get(timeout=1)[0], Failing)
    engine._free.put(works)
    assert engine.infer(pictures(1)[0]).logits.shape == (8,)


@pytest.mark.parametrize("first", [True, False])
def test_a_stream_that_fails_beside_another_loses_neither(first: bool, shared_micro_bundle: Path) -> None:
    engine = Engine(open_bundle(shared_micro_bundle).ir("fp32"), threads=2, views=8, streams=2)
    works, spare = engine._free.get(), engine._free.get()
    for _ in range(20):
        for chain in ([Failing()], works)[:: 1 if first else -1]:
            engine._free.put(chain)
        with pytest.raises(EdgeskinError, match="OpenVINO failed on this image: out of memory"):
            engine.infer(pictures(1)[0])
        back = [engine._free.get(timeout=1) for _ in range(2)]
        assert works in back
        assert engine._free.empty()
    engine._free.put(spare)
    assert engine.infer(pictures(1)[0]).logits.shape == (8,)


def test_where_no_thread_can_be_had_one_stream_does_it_all(
    shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(open_bundle(shared_micro_bundle).ir("fp32"), threads=2, views=8, streams=2)
    wanted = engine.infer(pictures(1)[0]).view_logits

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(engine.infer(pictures(1)[0]).view_logits, wanted)
    assert engine._free.qsize() == 2


def networks_of(engine: Engine) -> list[openvino.CompiledModel]:
    """The first part of each stream's."""
    chains = [engine._free.get() for _ in range(engine.streams)]
    for chain in chains:
        engine._free.put(chain)
    return [chain[0].get_compiled_model() for chain in chains]


def threads_of(engine: Engine) -> list[tuple[int, bool]]:
    """Threads of each stream's network, and whether they are pinned."""
    return [
        (network.get_property("INFERENCE_NUM_THREADS"), network.get_property("ENABLE_CPU_PINNING"))
        for network in networks_of(engine)
    ]


def test_streams_share_all_threads_and_none_is_pinned(shared_micro_bundle: Path) -> None:
    """Pinned, two containers of one core each would both be on the first, and so would be the compiling of a
    network's two parts."""
    ir = open_bundle(shared_micro_bundle).ir("fp32")
    assert threads_of(Engine(ir, threads=1)) == [(1, False)]
    assert threads_of(Engine(ir)) == [(ALLOWED, False)]
    shares = [threads for threads, _ in threads_of(Engine(ir, threads=3, streams=2))]
    assert sorted(shares) == sorted(min(ALLOWED, share) for share in (1, 2))


def of(model: openvino.Model, folder: Path) -> IR:
    openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
    return ir_of(*((folder / f"network.{part}").read_bytes() for part in ("xml", "bin")))


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_network_of_a_fixed_batch_gives_the_same(batch: int, tmp_path: Path) -> None:
    image = pictures(1)[0]
    fixed, free = (
        Engine(of(micro_network(0, size), tmp_path), views=8).infer(image, fmaps=True) for size in (batch, -1)
    )
    np.testing.assert_allclose(fixed.logits, free.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fixed.features, free.features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fixed.fmaps, free.fmaps, rtol=1e-5, atol=1e-5)


def test_a_network_that_cannot_take_every_view_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not 8 views"):
        Engine(of(micro_network(0, 3), tmp_path), views=8)
    with pytest.raises(BundleError, match="not 1 views"):
        Engine(of(micro_network(0, 4), tmp_path))


def test_a_network_that_answers_for_the_first_of_a_batch_is_refused(tmp_path: Path) -> None:
    """As a network traced with one image does after it is given another batch."""
    model = micro_network(0)
    logits = model.output("logits").get_node().input_value(0)
    first = ops.gather(logits, np.array([0]), np.array(0))
    first.output(0).get_tensor().set_names({"logits"})
    logits.get_tensor().set_names(set())
    others = [result for result in model.get_results() if "logits" not in result.output(0).get_names()]
    cut = openvino.Model([*others, ops.result(first)], model.get_parameters(), "cut")
    with pytest.raises(BundleError, match="each with its answer"):
        Engine(of(cut, tmp_path), views=8)


def test_an_output_without_a_batch_is_refused(tmp_path: Path) -> None:
    model = micro_network(0)
    scalar = ops.reduce_mean(model.output("logits").get_node().input_value(0), np.array([0, 1]))
    more = openvino.Model([*model.get_results(), ops.result(scalar)], model.get_parameters(), "more")
    with pytest.raises(BundleError, match="each with its answer"):
        Engine(of(more, tmp_path))


def test_bytes_that_are_no_network_are_refused() -> None:
    with pytest.raises(BundleError, match="OpenVINO cannot run"):
        Engine(ir_of(b"<net", b""))


@pytest.mark.parametrize("threads", [0, -1, 5000, "2"])
def test_impossible_threads_are_refused(shared_micro_bundle: Path, threads: object) -> None:
    with pytest.raises(SettingError, match="threads"):
        Engine(ir_of((shared_micro_bundle / "fp32.xml").read_bytes(), b""), threads)


@pytest.mark.parametrize(
    ("root", "own", "quota"),
    [
        ("max 100000", "max 100000", math.inf),
        ("max 100000", "150000 100000", 2),
        ("50000 100000", "max 100000", 1),
        ("x 100000", "", math.inf),
    ],
)
def test_threads_respect_the_tightest_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, own: str, quota: float
) -> None:
    (tmp_path / "kiosk.service").mkdir()
    (tmp_path / "cpu.max").write_text(root)
    (tmp_path / "kiosk.service" / "cpu.max").write_text(own)
    (tmp_path / "cgroup").write_text("0::/kiosk.service\n")
    monkeypatch.setattr("edgeskin.network.engine.CGROUP", tmp_path)
    monkeypatch.setattr("edgeskin.network.engine.PROCESS_CGROUP", tmp_path / "cgroup")
    assert available_threads() == min(ALLOWED, quota)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity mask")
def test_threads_respect_the_affinity_mask(shared_micro_bundle: Path) -> None:
    """Under ``taskset``: what the engine counts, and what OpenVINO then starts."""
    code = (
        "from edgeskin import Classifier\n"
        f"engine = Classifier({str(shared_micro_bundle)!r}).engine\n"
        "network = engine._free.get()[0].get_compiled_model()\n"
        "print(engine.threads, network.get_property('INFERENCE_NUM_THREADS'))"
    )
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{one}}})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]


def test_threads_respect_a_version_1_cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr("edgeskin.network.engine.CGROUP", tmp_path)
    assert available_threads() == 1


def test_instruction_set_never_exceeds_the_cpu_or_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    order = ["generic", "sse4_2", "avx2", "avx512", "avx512_vnni"]
    native = instruction_set()
    if native == "neon":
        pytest.skip("oneDNN's limits are those of x86")
    for limit, most in (("AVX2", "avx2"), ("AVX512_CORE_VNNI", "avx512_vnni"), ("ALL", native)):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert order.index(instruction_set()) == min(order.index(native), order.index(most))
