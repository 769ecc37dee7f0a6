"""OpenVINO on the CPU: no telemetry, float32 where the graph is float, threads within the quota."""

import contextlib
import ctypes
import math
import os
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

# OpenVINO's import would write a client id under the home folder and post to the network.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

from edgeskin.bundle.ir import IR  # noqa: E402
from edgeskin.errors import BundleError, EdgeskinError, SettingError  # noqa: E402
from edgeskin.imaging.dihedral import views_of  # noqa: E402
from edgeskin.network.cache import at_once, load_or_compile  # noqa: E402
from edgeskin.network.graph import CHANGES, halves, multiply_out  # noqa: E402

FloatArray = npt.NDArray[np.float32]
CGROUP = Path("/sys/fs/cgroup")
PROCESS_CGROUP = Path("/proc/self/cgroup")
VIEWS_AT_ONCE = 4
"""Of a network open in its batch; INT8 is fastest so (`benchmarks/results/batches.json`)."""

# OpenVINO makes its table of numpy's types when a tensor's data is first asked for. Two threads that ask at
# once wait for each other for ever, one of them holding Python's lock (openvino 2026.4.1).
openvino.Tensor(np.zeros(1, np.uint8)).data  # noqa: B018


@dataclass(frozen=True)
class Outputs:
    """What the network says of one image in its V views: logits (V, C), pooled features (V, F) and, where
    asked for, feature maps (V, F, h, w), which lie as the view does; copies."""

    view_logits: FloatArray
    features: FloatArray
    fmaps: FloatArray | None = None

    @property
    def logits(self) -> FloatArray:
        """(C,): the mean over the views, which the answer follows from."""
        return np.asarray(self.view_logits.mean(axis=0))


class Engine:
    """A compiled network, of one part or two; threads may share it, a caller waits for a stream that is
    free. Not for a process that was forked after it was made: OpenVINO's threads are not there.

    ir: the network. threads: CPU threads, all that the quota and affinity allow when None.
    views: 1, or 8 dihedral ones to average over, a quarter turn then changes nothing.
    cache: a folder to take the compiled network from. None: compile it.
    keep: whether to keep there what was compiled, and to make the folder if need be.
    streams: compiled networks that share the CPU threads, to serve as many callers at once; those that are
    free share the views of one caller's image.
    Raises BundleError when it is no network of the expected form, SettingError for a number of
    threads or streams out of range or a cache that cannot be written.
    """

    def __init__(
        self,
        ir: IR,
        threads: int | None = None,
        views: int = 1,
        cache: str | os.PathLike[str] | None = None,
        streams: int = 1,
        keep: bool = True,
    ) -> None:
        self._views = views
        allowed = available_threads()
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= 1024):
            raise SettingError(
                f"threads {threads!r}: choose 1 to 1024, or leave it off for all {allowed} allowed"
            )
        self.threads = threads or allowed
        if not (isinstance(streams, int) and 1 <= streams <= self.threads):
            raise SettingError(f"streams {streams!r}: choose 1 to the number of threads, {self.threads}")
        self.streams = streams
        self.kept: set[Path] = set()
        """Files of the cache for this network; one is absent where nothing was kept."""
        try:
            # Not one network of several streams: that was compiled to other logits in some processes, by up
            # to 0.3 (openvino 2026.4.1, INT8).
            rest = self.threads % streams
            shares = [self.threads // streams + (place < rest) for place in range(streams)]
            compiled = [self._compile(ir, share, cache, keep) for share in shares]
            chains = [_chain(parts) for parts in compiled]
            first, last = compiled[0][0], compiled[0][-1]
            names = [output.get_any_name() for output in last.outputs]
            # Feature maps last: they are left out where nobody asks for them.
            self._order = [names.index(name) for name in ("logits", "features", "fmap")]
            shapes = [tuple(port.shape) for port in (first.input(0), *last.outputs)]
            self._batch, *image_shape = shapes[0]
            self.image_shape: tuple[int, ...] = tuple(image_shape)
            self._output_shapes = [shapes[1 + place][1:] for place in self._order]
            self.n_classes: int = self._output_shapes[0][0]
            self.n_features: int = self._output_shapes[1][0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise BundleError(f"OpenVINO cannot run this network: {str(error).strip()}") from error
        if any(shape[:1] != (self._batch,) for shape in shapes) or self._batch < 1 or views % self._batch:
            raise BundleError(
                f"this network takes and gives {shapes}: not {views} views, each with its answer; "
                "export it anew"
            )
        self._free: queue.SimpleQueue[list[openvino.InferRequest]] = queue.SimpleQueue()
        """Of each stream that is free, the requests of the network's parts."""
        for chain in chains:
            self._free.put(chain)
        _return_freed_memory()

    def _compile(
        self, ir: IR, threads: int, cache: str | os.PathLike[str] | None, keep: bool
    ) -> list[openvino.CompiledModel]:
        core = openvino.Core()
        settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Left alone, a CPU with bf16 would run the float32 network in bf16.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Pinned, both parts are compiled on the first core, where other streams and processes are too.
            "ENABLE_CPU_PINNING": False,
        }

        def compile_network() -> list[openvino.CompiledModel]:
            # It copies the bytes, which are gone before it is compiled.
            model = core.read_model(*ir.read())
            multiply_out(model)
            shape = model.input(0).partial_shape
            if shape[0].is_dynamic:
                shape[0] = math.gcd(self._views, VIEWS_AT_ONCE)
                model.reshape(shape)
            return at_once(lambda part: core.compile_model(part, "CPU", settings), halves(model))

        if cache is None:
            return compile_network()
        # A virtual CPU's name does not tell its instructions. What is kept changes with what is done to it.
        depends_on = (CHANGES, ir.sha256, math.gcd(self._views, VIEWS_AT_ONCE), instruction_set())
        parts, file = load_or_compile(Path(cache), depends_on, core, settings, compile_network, keep)
        self.kept.add(file)
        return parts

    def infer(self, image: npt.NDArray[np.uint8], *, fmaps: bool = False) -> Outputs:
        """Run one image in all its views: uint8 RGB (s, s, 3), s as compiled. fmaps: whether to give the
        feature maps too, which only explanations need.

        Raises EdgeskinError for an image of another form, or when OpenVINO fails.
        """
        self._require_form(image.dtype, image.shape)
        return self._run(views_of(image, self._views), fmaps)

    def infer_each(self, images: npt.NDArray[np.uint8], *, fmaps: bool = False) -> Outputs:
        """Run images, uint8 RGB (n, s, s, 3), as they lie: outputs with an entry an image instead of a view.

        Raises EdgeskinError for images of another form, or when OpenVINO fails.
        """
        self._require_form(images.dtype, images.shape[1:])
        return self._run(images, fmaps)

    def _require_form(self, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        # numpy would spread some other shapes over the network's input, and cut numbers to a byte.
        if (dtype, shape) != (np.uint8, self.image_shape):
            raise EdgeskinError(f"an image of {dtype} {shape}; this network takes uint8 {self.image_shape}")

    def _run(self, images: "Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]", fmaps: bool) -> Outputs:
        shapes = self._output_shapes if fmaps else self._output_shapes[:2]
        outputs = [np.empty((len(images), *shape), np.float32) for shape in shapes]
        batches = [slice(first, first + self._batch) for first in range(0, len(images), self._batch)]
        left = iter(batches)
        failed: list[RuntimeError] = []

        def work(chain: list[openvino.InferRequest]) -> None:
            try:
                # Straight into the network's memory and out of it: each pixel and each number is copied once.
                entry = chain[0].get_input_tensor().data
                for batch in left:
                    for place, image in enumerate(images[batch]):
                        entry[place] = image
                    for request in chain:
                        request.infer(share_outputs=True)
                    for of_all, place in zip(outputs, self._order[: len(outputs)], strict=True):
                        said = chain[-1].get_output_tensor(place).data
                        of_all[batch] = said[: len(of_all[batch])]
            except RuntimeError as error:
                failed.append(error)
            finally:
                # At once, not when the others are done too: in a folder somebody waits for it.
                self._free.put(chain)

        def help_out() -> None:
            with contextlib.suppress(queue.Empty):
                work(self._free.get_nowait())

        helpers: list[threading.Thread] = []
        with contextlib.suppress(RuntimeError):  # where no thread can be had, this one does it all
            for _ in range(min(len(batches), self._free.qsize()) - 1):
                helper = threading.Thread(target=help_out)
                helper.start()
                helpers.append(helper)
        work(self._free.get())
        for helper in helpers:
            helper.join()
        if failed:
            raise EdgeskinError(f"OpenVINO failed on this image: {str(failed[0]).strip()}") from failed[0]
        return Outputs(*outputs)


def _chain(networks: Sequence[openvino.CompiledModel]) -> list[openvino.InferRequest]:
    """Requests to run one after the other, each of which reads what the one before left."""
    chain = [network.create_infer_request() for network in networks]
    for before, after in pairwise(chain):
        after.set_input_tensor(before.get_output_tensor())
    return chain


def _return_freed_memory() -> None:
    """glibc keeps what compiling has freed, for each of its threads: 11 MB of the highest memory."""
    # Other systems have no such function, or no such library.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def available_threads() -> int:
    """Threads this process may use: its affinity mask, lowered to the cgroups' CPU quota (at least 1).

    OpenVINO does not read the quota (openvino#37838) and would start a thread a core of the host.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _cgroup_quota())))


def _cgroup_quota() -> float:
    """CPUs' worth of time the cgroups allow (v2, then v1); infinity without a limit."""
    try:
        own = PROCESS_CGROUP.read_text().partition("0::/")[2].splitlines()
    except OSError:
        own = []
    # The tightest of this process's own group and all above it counts.
    group = CGROUP / (own[0] if own else "")
    groups = [folder for folder in (group, *group.parents) if folder.is_relative_to(CGROUP)]
    limits = [_quota(folder / "cpu.max") for folder in groups]
    v1 = CGROUP / "cpu"
    limits.append(_quota(v1 / "cpu.cfs_quota_us", v1 / "cpu.cfs_period_us"))
    return min(limits)


def _quota(*files: Path) -> float:
    """Quota over period, which the files hold in this order; infinity when they hold anything else."""
    try:
        quota, period = (int(word) for file in files for word in file.read_text().split())
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


_INSTRUCTION_SETS = ("generic", "sse4_2", "avx2", "avx512", "avx512_vnni")
_LIMITS = {"SSE41": 1, "AVX2": 2, "AVX2_VNNI": 2, "AVX512_CORE": 3, "AVX512_CORE_VNNI": 4}


def instruction_set() -> str:
    """The vector instructions that decide OpenVINO's INT8 kernels here, such as ``avx512_vnni``.

    Lower than the CPU's own where ONEDNN_MAX_CPU_ISA says so. AVX-VNNI of client CPUs counts as ``avx2``.
    """
    # OpenCV's numbers of CPU features (opencv2/core/cvdef.h); its Python module names none of them.
    if cv2.checkHardwareSupport(100):
        return "neon"
    features = {23: 4, 13: 3, 11: 2, 7: 1}
    level = next((level for number, level in features.items() if cv2.checkHardwareSupport(number)), 0)
    limit = _LIMITS.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), level)
    return _INSTRUCTION_SETS[min(level, limit)]
