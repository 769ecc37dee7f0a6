"""OpenVINO on the CPU: no telemetry, float32 where the graph is float, threads within the quota."""

import contextlib
import ctypes
import hashlib
import math
import os
import queue
import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType

import numpy as np

# OpenVINO's import would write a client id under the home folder and post to the network.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

from edgeskin.arrays import Float32s, Image, UInt8s  # noqa: E402
from edgeskin.bundle.bundle import IR  # noqa: E402
from edgeskin.bundle.ir import LARGEST_TENSOR  # noqa: E402
from edgeskin.errors import (  # noqa: E402
    BundleError,
    EdgeskinError,
    SettingError,
    lack_of_resources,
    require_kind,
)
from edgeskin.imaging.dihedral import average_views, views_of  # noqa: E402
from edgeskin.network import cache  # noqa: E402
from edgeskin.network.cpu import available_threads, instruction_set  # noqa: E402
from edgeskin.results import EqualByValue  # noqa: E402

MAX_THREADS = 1024
VIEWS_PER_BATCH = 4
"""Of a network with an open batch; INT8 is fastest so (``python -m benchmarks.speed.batches``)."""
GRAPH_CHANGES = "weights dequantized"
"""Part of the name of cached networks; to be changed with what `_compile` does to a graph."""

# Two threads racing to their first `Tensor.data` deadlock (openvino 2026.4.1): it is initialised here.
openvino.Tensor(np.zeros(1, np.uint8)).data  # noqa: B018


@dataclass(frozen=True, eq=False)
class NetworkOutputs(EqualByValue):
    """Outputs of n pictures in V views each, as copies.

    view_logits: (n, V, C). view_features: pooled, (n, V, F). fmaps: (n, V, F, h, w), not turned upright; None
    unless requested.
    """

    view_logits: Float32s
    view_features: Float32s
    fmaps: Float32s | None = None

    @property
    def logits(self) -> Float32s:
        """Averaged over the views, (n, C)."""
        return average_views(self.view_logits, axis=1)

    @property
    def features(self) -> Float32s:
        """Averaged over the views, (n, F)."""
        return average_views(self.view_features, axis=1)


class Engine:
    """A compiled network. Threads may share it: a caller waits until one of its workers is free.

    It does not survive a fork: OpenVINO's threads stay in the parent process. A forked child can only exit.
    """

    def __init__(
        self,
        ir: IR,
        threads: int | None = None,
        views: int = 1,
        cache_dir: str | os.PathLike[str] | None = None,
        workers: int = 1,
        cache_read_only: bool = False,
    ) -> None:
        """Compile the network, or load it from the cache.

        Args:
            ir: The network.
            threads: CPU threads, 1 to MAX_THREADS; None for all that the quota and affinity allow.
            views: 1, or 8 dihedral views of each picture.
            cache_dir: Folder with compiled networks; None to compile.
            workers: Compiled networks that share the threads, to serve as many callers at once.
            cache_read_only: Whether to leave the cache as it is.

        Raises:
            BundleError: The network is not of the expected form.
            ResourceError: There is too little memory, or there are too few threads.
            SettingError: threads or workers are out of range, or the cache cannot be written.
        """
        allowed = available_threads()
        choices = f"1 to {MAX_THREADS}, or leave it off for all {allowed} allowed"
        require_kind("threads", threads, (int, NoneType), choices)
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise SettingError(f"threads {threads}: choose {choices}")
        self.threads = threads or allowed
        choices = f"1 to the number of threads, {self.threads}"
        require_kind("workers", workers, int, choices)
        if not 1 <= workers <= self.threads:
            raise SettingError(f"workers {workers}: choose {choices}")
        self.workers = workers
        self._views = views
        _engines.add(self)
        self._cache = (Path(cache_dir) if cache_dir is not None else None, cache_read_only)
        self.cached_files: set[Path] = set()
        """Where the compiled networks are in the cache; one is missing when it could not be kept."""
        try:
            # One network a worker: one network of several streams was compiled to other logits in some
            # processes, by up to 0.3 (openvino 2026.4.1, INT8).
            compiled = [self._load_or_compile(ir, share) for share in _shares(self.threads, workers)]
            names = [output.get_any_name() for output in compiled[0].outputs]
            # Feature maps last: they are left out where nobody asks for them.
            self._order = [names.index(name) for name in ("logits", "features", "fmap")]
            shapes = [tuple(port.shape) for port in (compiled[0].input(), *compiled[0].outputs)]
            self._batch, *image_shape = shapes[0]
            self.image_shape: tuple[int, ...] = tuple(image_shape)
            self._output_shapes = [shapes[1 + place][1:] for place in self._order]
            self.n_classes: int = self._output_shapes[0][0]
            self.n_features: int = self._output_shapes[1][0]
            requests = [network.create_infer_request() for network in compiled]
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            bundle_error = BundleError(f"OpenVINO cannot run this network: {str(error).strip()}")
            raise lack_of_resources(error) or bundle_error from error
        if any(shape[:1] != (self._batch,) for shape in shapes) or self._batch < 1 or views % self._batch:
            raise BundleError(
                f"this network takes and gives {shapes}, which does not fit {views} views; export it anew"
            )
        self._free: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for request in requests:
            self._free.put(request)

    def infer(self, image: Image, *, fmaps: bool = False) -> NetworkOutputs:
        """Run one picture in all its views.

        Args:
            image: uint8 RGB (s, s, 3), s as compiled.
            fmaps: Whether to return the feature maps, which explanations need.

        Returns:
            Outputs with n = 1.

        Raises:
            EdgeskinError: The image has another form, or OpenVINO fails.
            ResourceError: There is too little memory.
        """
        self._require_form(image.dtype, image.shape)
        return NetworkOutputs(*(values[None] for values in self._run(views_of(image, self._views), fmaps)))

    def infer_batch(self, images: UInt8s, *, fmaps: bool = False) -> NetworkOutputs:
        """Run pictures, uint8 RGB (n, s, s, 3), untransformed: V = 1. Raises as `infer`."""
        self._require_form(images.dtype, images.shape[1:])
        return NetworkOutputs(*(values[:, None] for values in self._run(images, fmaps)))

    def _load_or_compile(self, ir: IR, threads: int) -> openvino.CompiledModel:
        core = openvino.Core()
        settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Left alone, a CPU with bf16 would run the float32 network in bf16.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Pinned threads of several workers or processes would share the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        folder, is_read_only = self._cache
        if folder is None:
            return self._compile(core, ir, settings)
        file = folder / f"{self._cache_key(core, ir, settings)}.blob"
        self.cached_files.add(file)
        # A file that cannot be read, or that OpenVINO refuses, is compiled anew.
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            return core.import_model(cache.read_export(file), "CPU", settings)
        if is_read_only:
            return self._compile(core, ir, settings)
        cache.require_writable(folder)
        network = self._compile(core, ir, settings)
        cache.write_export(file, network.export_model().getvalue())
        return network

    def _compile(self, core: openvino.Core, ir: IR, settings: dict[str, str | int]) -> openvino.CompiledModel:
        model = core.read_model(*ir.read())
        _dequantize_weights(model)
        shape = model.input(0).partial_shape
        if shape[0].is_dynamic:
            shape[0] = math.gcd(self._views, VIEWS_PER_BATCH)
            model.reshape(shape)
        _require_bounded(model)
        return core.compile_model(model, "CPU", settings)

    def _cache_key(self, core: openvino.Core, ir: IR, settings: dict[str, str | int]) -> str:
        """SHA-256, in hex, of all that a compiled network depends on."""
        cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
        # A virtual CPU's name does not determine its instructions.
        instructions = (instruction_set(), os.environ.get("ONEDNN_MAX_CPU_ISA"))
        version = core.get_versions("CPU")["CPU"].build_number
        batch = math.gcd(self._views, VIEWS_PER_BATCH)
        key = (version, cpu, instructions, settings, GRAPH_CHANGES, ir.sha256, batch)
        return hashlib.sha256(repr(key).encode()).hexdigest()

    def _require_form(self, dtype: np.dtype[np.uint8], shape: tuple[int, ...]) -> None:
        # numpy would broadcast some other shapes over the network's input, and cut numbers to a byte.
        if dtype != np.uint8 or shape != self.image_shape:
            message = f"an image of {dtype} {shape}; this network takes uint8 {self.image_shape}"
            raise EdgeskinError(message, "wrong_array")

    def _run(self, images: Sequence[Image] | UInt8s, fmaps: bool) -> list[Float32s]:
        """Outputs of m images, untransformed: logits (m, C), features (m, F), maybe fmaps (m, F, h, w)."""
        shapes = self._output_shapes if fmaps else self._output_shapes[:2]
        try:
            outputs = [np.empty((len(images), *shape), np.float32) for shape in shapes]
            with self._free_request() as request:
                entry = request.get_input_tensor().data
                for first in range(0, len(images), self._batch):
                    batch = slice(first, first + self._batch)
                    for place, image in enumerate(images[batch]):
                        entry[place] = image
                    request.infer(share_outputs=True)
                    for output, place in zip(outputs, self._order[: len(outputs)], strict=True):
                        output[batch] = request.get_output_tensor(place).data[: len(output[batch])]
        except (RuntimeError, MemoryError) as error:
            failed = EdgeskinError(f"OpenVINO failed on this image: {str(error).strip()}", "network_failed")
            raise lack_of_resources(error) or failed from error
        return outputs

    @contextlib.contextmanager
    def _free_request(self) -> Iterator[openvino.InferRequest]:
        request = self._free.get()
        try:
            yield request
        finally:
            self._free.put(request)


_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _keep_in_child() -> None:
    # Their destructors would wait for ever for threads that stayed in the parent: a child could not exit.
    for engine in list(_engines):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_in_child)


def _shares(threads: int, workers: int) -> list[int]:
    """Threads of each worker, as even as they divide."""
    return [threads // workers + (place < threads % workers) for place in range(workers)]


def _require_bounded(model: openvino.Model) -> None:
    """Raise ValueError for a tensor of more than LARGEST_TENSOR elements. Open shapes are not bounded."""
    for operation in model.get_ops():
        if operation.get_type_name() == "Constant":  # its elements are in memory already
            continue
        for output in operation.outputs():
            shape = output.get_partial_shape()
            if shape.is_static and math.prod(shape.to_shape()) > LARGEST_TENSOR:
                name = operation.get_friendly_name()
                raise ValueError(f"a tensor of {shape} in {name:.60}; at most {LARGEST_TENSOR} elements")


def _dequantize_weights(model: openvino.Model) -> None:
    """Fold ``Convert(Convert(int8 weights) * scale)`` of float32 operations into float32 constants.

    OpenVINO computes the same products at every start, by kernels that it makes for them. Weights of INT8
    operations are not converted and stay as they are.
    """
    kinds = ("Convert", "Constant", "Convert")
    types = (openvino.Type.i8, openvino.Type.f16, openvino.Type.f32)
    for product in model.get_ordered_ops():
        if product.get_type_name() != "Multiply":
            continue
        number, scale = (value.get_node() for value in product.input_values())
        (reader, *_) = (place.get_node() for place in product.output(0).get_target_inputs())
        if tuple(node.get_type_name() for node in (number, scale, reader)) != kinds:
            continue
        stored = number.input_value(0).get_node()
        is_known = tuple(node.get_element_type() for node in (stored, scale, reader)) == types
        if stored.get_type_name() == "Constant" and is_known:
            weights = stored.data.astype(np.float32) * scale.data.astype(np.float32)
            reader.output(0).replace(openvino.op.Constant(weights).output(0))
