"""The engine against the micro-network in numpy, and against OpenVINO alone on the shipped networks."""

import concurrent.futures
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from edgeskin.bundle.bundle import IR, SHIPPED, open_bundle
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.imaging.dihedral import views_of
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.cache import read_export
from edgeskin.network.cpu import instruction_set
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from edgeskin.results import Precision
from tests.conftest import MICRO_SIZE, ROOT, micro_network

OUTPUTS = ("logits", "features", "fmap")
AS_THE_ENGINE = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}


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


def ir_of(model: openvino.Model, folder: Path) -> IR:
    openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
    return IR.from_bytes(*((folder / f"network.{part}").read_bytes() for part in ("xml", "bin")))


def named(image: openvino.Node, **outputs: openvino.Node) -> openvino.Model:
    """A model of one input whose outputs have these names."""
    results = []
    for name, output in outputs.items():
        output.output(0).get_tensor().set_names({name})
        results.append(ops.result(output))
    return openvino.Model(results, [image], "by hand")


def test_outputs_are_those_computed_by_hand(engine: Engine) -> None:
    image = pictures(1)[0]
    outputs = engine.infer(image, fmaps=True)
    assert engine.infer(image).fmaps is None
    assert (engine.image_shape, engine.n_classes, engine.n_features) == ((64, 64, 3), 8, 16)
    logits, features, fmap = by_hand(image)
    assert outputs.fmaps is not None
    for found, expected in zip(
        (outputs.view_logits, outputs.view_features, outputs.fmaps), (logits, features, fmap), strict=True
    ):
        np.testing.assert_allclose(found, expected[None, None], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(outputs.logits, outputs.view_logits[:, 0])
    np.testing.assert_array_equal(outputs.features, outputs.view_features[:, 0])


def test_all_views_are_run_and_averaged(shared_micro_bundle: Path) -> None:
    """The answer is then the same for every dihedral transform of the picture."""
    engine = Engine(open_bundle(shared_micro_bundle).ir("fp32"), views=8)
    image = pictures(1)[0]
    outputs = engine.infer(image, fmaps=True)
    views = [np.rot90(side, quarters) for side in (image, image[:, ::-1]) for quarters in range(4)]
    logits, features, fmaps = map(np.array, zip(*map(by_hand, views), strict=True))
    np.testing.assert_allclose(outputs.view_logits, logits[None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.view_features, features[None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.fmaps, fmaps[None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.logits, logits.mean(axis=0)[None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.features, features.mean(axis=0)[None], rtol=1e-4, atol=1e-4)
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
    features = np.concatenate([a.view_features for a in alone], axis=1)
    np.testing.assert_allclose(together.view_features, features, atol=1e-4)
    assert np.std([a.logits for a in alone], axis=0).max() > 0.01


@pytest.mark.parametrize("bundle", [*SHIPPED])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_shipped_networks_answer_as_the_files_do(bundle: str, precision: Precision, lesion_jpg: Path) -> None:
    """As the network that OpenVINO compiles of the files as they are.

    The same bits on AVX2, where that was measured; elsewhere INT8 is no farther off than one instruction set
    is from another (benchmarks.robustness.isa_consistency).
    """
    elsewhere = {"int8": 0.05, "fp32": 1e-4}
    tolerance = 0 if instruction_set() == "avx2" else elsewhere[precision]
    opened = open_bundle(bundle)
    settings = opened.manifest.preprocessing
    image = preprocess(load_photo(lesion_jpg, settings.size).image, settings)
    model = openvino.Core().read_model(*opened.ir(precision).read())
    shape = model.input(0).partial_shape
    shape[0] = 4
    model.reshape(shape)
    whole = openvino.compile_model(model, "CPU", AS_THE_ENGINE)
    found = Engine(opened.ir(precision), threads=2, views=8).infer(image, fmaps=True)
    views = views_of(image, 8)
    for first in (0, 4):
        expected = whole(np.stack(views[first : first + 4]))
        for values, name in zip((found.view_logits, found.view_features, found.fmaps), OUTPUTS, strict=True):
            assert values is not None
            np.testing.assert_allclose(values[0, first : first + 4], expected[name], rtol=0, atol=tolerance)


def test_dequantized_weights_are_the_same_numbers(tmp_path: Path) -> None:
    """Int8 weights times a float16 scale, as INT8 files store those of float32 layers."""
    rng = np.random.default_rng(0)
    stored = rng.integers(-127, 128, (12, 5), dtype=np.int8)
    scale = rng.random((1, 5)).astype(np.float16)
    image = ops.parameter([1, 2, 2, 3], np.uint8, name="image")
    flat = ops.reshape(ops.convert(image, "f32"), np.array([1, 12]), False)
    number = ops.convert(ops.constant(stored), "f16")
    weights = ops.convert(ops.multiply(number, ops.constant(scale)), "f32")
    logits = ops.matmul(flat, weights, False, False)
    fmap = ops.reshape(flat, np.array([1, 12, 1, 1]), False)
    ir = ir_of(named(image, logits=logits, features=ops.relu(flat), fmap=fmap), tmp_path)
    picture = np.zeros((2, 2, 3), np.uint8)
    for place in range(12):
        lit = picture.copy()
        lit.reshape(-1)[place] = 1  # one row of the weights, without rounding
        expected = stored[place].astype(np.float32) * scale[0].astype(np.float32)
        np.testing.assert_array_equal(Engine(ir).infer(lit).logits[0], expected)


def test_weights_are_dequantized_when_the_network_is_compiled(tmp_path: Path) -> None:
    """No kernel converts weights, which OpenVINO 2026 leaves in the network that it compiles of the file.

    OpenVINO 2025.4 folds them itself.
    """
    ir = open_bundle().ir("int8")
    core = openvino.Core()
    (file,) = Engine(ir, threads=2, cache_dir=tmp_path).cached_files
    ours = core.import_model(read_export(file), "CPU", AS_THE_ENGINE)
    model = core.read_model(*ir.read())
    shape = model.input(0).partial_shape
    shape[0] = 1
    model.reshape(shape)
    theirs = core.compile_model(model, "CPU", AS_THE_ENGINE)
    again = core.import_model(theirs.export_model(), "CPU", AS_THE_ENGINE)
    kernels, *others = (
        [kernel.get_rt_info()["layerType"].value for kernel in network.get_runtime_model().get_ops()]
        for network in (ours, theirs, again)
    )
    assert "Convolution" in kernels
    assert "Convert" not in kernels
    assert all(len(kernels) <= len(other) - other.count("Convert") for other in others)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_any_number_of_pictures_as_they_lie(shared_micro_bundle: Path, count: int) -> None:
    """Six do not fill two batches of four."""
    images = pictures(count)
    outputs = Engine(open_bundle(shared_micro_bundle).ir("fp32"), views=8).infer_batch(images, fmaps=True)
    logits, features, fmaps = map(np.array, zip(*map(by_hand, images), strict=True))
    np.testing.assert_allclose(outputs.view_logits, logits[:, None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.view_features, features[:, None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.fmaps, fmaps[:, None], rtol=1e-4, atol=1e-4)


@pytest.mark.hazard("H-15")
def test_outputs_survive_the_next_picture(engine: Engine) -> None:
    first, second = pictures(2)
    outputs = engine.infer(first, fmaps=True)
    before = [values.copy() for values in vars(outputs).values()]
    engine.infer(second, fmaps=True)
    for now, then in zip(vars(outputs).values(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.hazard("H-15", "H-19")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_share_an_engine(shared_micro_bundle: Path, workers: int) -> None:
    images = pictures(40)
    ir = open_bundle(shared_micro_bundle).ir("fp32")
    alone = [Engine(ir, threads=1).infer(image).logits for image in images[:1]]
    engine = Engine(ir, threads=3, workers=workers)
    assert (engine.threads, engine.workers) == (3, workers)
    alone = [engine.infer(image).logits for image in images]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: engine.infer(image).logits, images))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.hazard("H-19")
def test_each_worker_of_the_default_bundle_gives_the_same() -> None:
    """One compiled network of two streams did not, in some processes."""
    bundle = open_bundle()
    ir = bundle.ir("int8")
    size = bundle.manifest.preprocessing.size
    images = np.random.default_rng(3).integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    one = Engine(ir, threads=1)
    alone = [one.infer(image).logits for image in images]
    engine = Engine(ir, threads=2, workers=2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            together = list(pool.map(lambda image: engine.infer(image).logits, images))
            np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_thread_that_outlives_the_main_one_is_served(shared_micro_bundle: Path) -> None:
    """Two threads racing to their first look at a tensor deadlocked about one such process in four."""
    code = f"""
import sys
import threading
import numpy as np
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.engine import Engine
engine = Engine(open_bundle({str(shared_micro_bundle)!r}).ir("fp32"), threads=2, views=8, workers=2)
image = np.zeros(engine.image_shape, np.uint8)

def late():
    threading.main_thread().join()
    # One write: print writes the end of a line apart, and the lines of two threads may mix.
    sys.stdout.write(f"{{engine.infer(image).view_logits.shape}}\\n")

for _ in range(2):
    threading.Thread(target=late).start()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["(1, 8, 8)"] * 2


@pytest.mark.parametrize("image", [(64, 64, 1), (1, 1, 3), (65, 64, 3), (64, 64)])
def test_pictures_of_another_form_are_refused(engine: Engine, image: tuple[int, ...]) -> None:
    """numpy would broadcast some of these over the network's input."""
    with pytest.raises(EdgeskinError, match=r"\(64, 64, 3\)"):
        engine.infer_batch(np.zeros((2, *image), np.uint8))
    with pytest.raises(EdgeskinError, match=r"\(64, 64, 3\)"):
        engine.infer(np.zeros(image, np.uint8))
    with pytest.raises(EdgeskinError, match="float32"):
        engine.infer(np.zeros((64, 64, 3), np.float32))
    assert engine.infer(pictures(1)[0]).logits.shape == (1, 8)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_an_error_of_openvino_every_worker_is_free(tmp_path: Path, workers: int) -> None:
    """A network that fails where the first pixel is 255: its features then repeat, and a reshape fails."""
    image = ops.parameter([1, MICRO_SIZE, MICRO_SIZE, 3], np.uint8, name="image")
    planes = ops.transpose(ops.convert(image, "f32"), np.array([0, 3, 1, 2]))
    features = ops.reduce_mean(planes, np.array([2, 3]))
    pixel = ops.slice(image, *(np.array(four) for four in ([0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1])))
    count = ops.divide(ops.convert(ops.reshape(pixel, np.array([1]), False), "i64"), np.array([255]))
    repeats = ops.concat([np.array([1], np.int64), ops.add(count, np.array([1]))], 0)
    repeated = ops.tile(features, repeats)
    logits = ops.reshape(repeated, np.array([1, 3]), False)
    fmap = ops.reshape(repeated, np.array([1, 3, 1, 1]), False)
    ir = ir_of(named(image, logits=logits, features=features, fmap=fmap), tmp_path)
    engine = Engine(ir, threads=2 * workers, workers=workers)  # with one thread OpenVINO does not check
    works = np.zeros((MICRO_SIZE, MICRO_SIZE, 3), np.uint8)
    fails = works.copy()
    fails[0, 0, 0] = 255
    for _ in range(2 * workers):
        for _ in range(workers):
            engine.infer(works)
        with pytest.raises(EdgeskinError) as caught:
            engine.infer(fails)
        assert caught.value.code == "network_failed"
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for outputs in pool.map(engine.infer, [works] * 4, timeout=60):
            assert outputs.logits.tolist() == [[0, 0, 0]]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
@pytest.mark.parametrize("workers", [1, 2])
def test_no_thread_is_pinned(workers: int) -> None:
    """Pinned, as threads are while they work, two containers of one core each would share the first."""
    code = f"""
import os, threading
import numpy as np
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.engine import Engine
before = os.sched_getaffinity(0)
engine = Engine(open_bundle("lite").ir("fp32"), threads=2, views=8, workers={workers})
image = np.zeros(engine.image_shape, np.uint8)
work = [threading.Thread(target=lambda: [engine.infer(image) for _ in range(15)]) for _ in range({workers})]
for thread in work:
    thread.start()
pinned = set()
while any(thread.is_alive() for thread in work):
    for task in os.listdir("/proc/self/task"):
        try:
            pinned |= before - os.sched_getaffinity(int(task))
        except ProcessLookupError:
            pass
print(pinned)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()"]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
def test_one_thread_does_all_the_work_of_one() -> None:
    """By the CPU time of each thread in ticks; of two, the second has many even on a busy machine."""
    code = """
from pathlib import Path
import numpy as np
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.engine import Engine

def ticks():
    stats = {task.name: (task / "stat").read_text() for task in Path("/proc/self/task").iterdir()}
    return {name: int(text.rpartition(")")[2].split()[11]) for name, text in stats.items()}

engine = Engine(open_bundle().ir("fp32"), threads=1, views=8)
image = np.zeros(engine.image_shape, np.uint8)
engine.infer(image)
before = ticks()
for _ in range(12):
    engine.infer(image)
work = [after - before.get(name, 0) for name, after in ticks().items()]
print(max(work), sum(work) - max(work))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    most, others = map(int, done.stdout.split())
    assert most > 10
    assert others <= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity mask")
def test_threads_respect_the_affinity_mask(shared_micro_bundle: Path) -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}}); from edgeskin import Classifier; "
        f"print(Classifier({str(shared_micro_bundle)!r}).engine.threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_network_of_a_fixed_batch_gives_the_same(batch: int, tmp_path: Path) -> None:
    image = pictures(1)[0]
    fixed, free = (
        Engine(ir_of(micro_network(0, size), tmp_path), views=8).infer(image, fmaps=True)
        for size in (batch, -1)
    )
    for one, other in zip(vars(fixed).values(), vars(free).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_network_whose_batch_does_not_divide_the_views_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"\b8 "):
        Engine(ir_of(micro_network(0, 3), tmp_path), views=8)
    with pytest.raises(BundleError, match=r"\b1 "):
        Engine(ir_of(micro_network(0, 4), tmp_path))


def test_a_network_that_answers_for_the_first_of_a_batch_is_refused(tmp_path: Path) -> None:
    """As a network traced with one picture does when it is given another batch."""
    model = micro_network(0)
    logits = model.output("logits").get_node().input_value(0)
    first = ops.gather(logits, np.array([0]), np.array(0))
    first.output(0).get_tensor().set_names({"logits"})
    logits.get_tensor().set_names(set())
    others = [result for result in model.get_results() if "logits" not in result.output(0).get_names()]
    cut = openvino.Model([*others, ops.result(first)], model.get_parameters(), "cut")
    with pytest.raises(BundleError, match=r"\(1, 8\)"):
        Engine(ir_of(cut, tmp_path), views=8)


def test_an_output_without_a_batch_is_refused(tmp_path: Path) -> None:
    model = micro_network(0)
    scalar = ops.reduce_mean(model.output("logits").get_node().input_value(0), np.array([0, 1]))
    more = openvino.Model([*model.get_results(), ops.result(scalar)], model.get_parameters(), "more")
    with pytest.raises(BundleError):
        Engine(ir_of(more, tmp_path))


def test_a_network_without_one_of_the_outputs_is_refused(tmp_path: Path) -> None:
    model = micro_network(0)
    kept = [result for result in model.get_results() if "features" not in result.output(0).get_names()]
    with pytest.raises(BundleError, match="features"):
        Engine(ir_of(openvino.Model(kept, model.get_parameters(), "less"), tmp_path))


def test_a_network_of_two_pictures_is_refused(tmp_path: Path) -> None:
    """The second would never be set."""
    model = micro_network(0)
    image = ops.parameter([-1, MICRO_SIZE, MICRO_SIZE, 3], np.uint8, name="second")
    mean = ops.reduce_mean(ops.convert(image, "f32"), np.array([1, 2, 3]))
    more = openvino.Model([*model.get_results(), ops.result(mean)], [*model.get_parameters(), image], "two")
    with pytest.raises(BundleError):
        Engine(ir_of(more, tmp_path))


def test_a_network_with_a_tensor_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    model = micro_network(0)
    wide = ops.broadcast(np.float32(1), np.array([4, 10**5, 10**5]))
    more = openvino.Model([*model.get_results(), ops.result(wide)], model.get_parameters(), "wide")
    with pytest.raises(BundleError, match="elements"):
        Engine(ir_of(more, tmp_path))


def test_bytes_that_are_no_network_are_refused() -> None:
    with pytest.raises(BundleError):
        Engine(IR.from_bytes(b"<net", b""))


@pytest.mark.parametrize("threads", [0, -1, 5000, "2"])
def test_threads_out_of_range_are_refused(shared_micro_bundle: Path, threads: object) -> None:
    with pytest.raises(SettingError, match=r"1024"):
        Engine(open_bundle(shared_micro_bundle).ir("fp32"), threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 3, 1.5])
def test_workers_out_of_range_are_refused(shared_micro_bundle: Path, workers: int) -> None:
    with pytest.raises(SettingError, match=rf"{workers}.* 2$"):
        Engine(open_bundle(shared_micro_bundle).ir("fp32"), threads=2, workers=workers)


@pytest.mark.skipif(sys.platform != "linux", reason="limits differ")
@pytest.mark.parametrize("spare_mb", [20, 60, 200])
def test_too_little_memory_is_no_error_of_the_bundle(spare_mb: int) -> None:
    """However much is left when the network is compiled, the answer is the error or the network."""
    code = f"""
import resource
from pathlib import Path
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import ResourceError
from edgeskin.network.engine import Engine
ir = open_bundle("default").ir("fp32")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {spare_mb} * 2**20,) * 2)
try:
    Engine(ir, 1)
except ResourceError as error:
    print(error.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("out_of_memory", "too_few_threads")


@pytest.mark.hazard("H-17")
def test_openvino_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    # CI=true silences the telemetry by itself and would hide a leak; an empty home shows what is written.
    code = "import sys, edgeskin.network.engine; assert sys.modules['openvino_telemetry'] is None"
    environment = {**os.environ, "CI": "", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.iterdir())
