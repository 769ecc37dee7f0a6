"""Runs an IR on many images, natively or limited to an older instruction set."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from edgeskin.bundle.bundle import IR
from edgeskin.errors import EdgeskinError
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.network.cpu import instruction_set
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from train.evaluate.outputs import Outputs

CONSOLE = Console(stderr=True)
Images = npt.NDArray[np.uint8]

NATIVE = "native"
OLDER = {"avx512_vnni": ("AVX512_CORE_VNNI", "AVX2"), "avx512": ("AVX2",), "avx2": ("AVX2",)}
"""Values of ONEDNN_MAX_CPU_ISA that the gate also runs, by this CPU's `instruction_set`."""


class InferenceError(EdgeskinError):
    """An IR that failed to run in a process of its own."""


def instruction_sets() -> tuple[str, ...]:
    """List what the gate runs on this CPU: ``native``, then values of ONEDNN_MAX_CPU_ISA."""
    return (NATIVE, *OLDER.get(instruction_set(), ()))


def prepare(files: Sequence[Path], settings: Preprocessing, out: Path) -> Path:
    """Preprocess photos as the runtime does, and write them to an .npy file.

    Args:
        files: n photos.
        settings: Preprocessing of the bundle.
        out: The .npy file, which holds uint8 RGB (n, s, s, 3).

    Returns:
        ``out``.

    Raises:
        PhotoError: A photo cannot be read.
    """
    shape = (len(files), settings.size, settings.size, 3)
    images = np.lib.format.open_memmap(out, "w+", np.uint8, shape)
    progress = track(files, f"preparing {out.stem} images", console=CONSOLE, transient=True)
    for position, file in enumerate(progress):
        images[position] = preprocess(load_photo(file, settings.size).image, settings)
    images.flush()
    return out


def load(images: Path) -> Images:
    """Map prepared images into memory, uint8 RGB (n, s, s, 3)."""
    return np.asanyarray(np.load(images, mmap_mode="r", allow_pickle=False))


def predict(xml: Path, images: Path, isa: str = NATIVE, views: int = 1) -> Outputs:
    """Run an IR on prepared images as the runtime does.

    Args:
        xml: The IR, with its weights in the .bin file beside it.
        images: An .npy file that `prepare` wrote, of n images.
        isa: ``native``, or a value of ONEDNN_MAX_CPU_ISA, which runs in a process of its own.
        views: Number of dihedral views of each image, 1 or 8.

    Raises:
        InferenceError: The process of its own failed.
    """
    if isa == NATIVE:
        return _run(xml, images, views)
    with tempfile.TemporaryDirectory(dir=images.parent) as folder:
        out = Path(folder) / "outputs.npz"
        paths = [str(path.resolve()) for path in (xml, images, out)]
        done = subprocess.run(
            [sys.executable, "-m", "quantize.inference", *paths, str(views)],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise InferenceError(f"{xml} with ONEDNN_MAX_CPU_ISA={isa} failed: {done.stderr.strip()[-2000:]}")
        with np.load(out, allow_pickle=False) as stored:
            return Outputs(stored["view_logits"], stored["features"])


def _run(xml: Path, images: Path, views: int) -> Outputs:
    engine = Engine(IR.from_bytes(xml.read_bytes(), xml.with_suffix(".bin").read_bytes()), views=views)
    prepared = load(images)
    progress = track(prepared, f"running {xml.stem}", len(prepared), console=CONSOLE, transient=True)
    view_logits, features = [], []
    for image in progress:
        outputs = engine.infer(image)
        view_logits.append(outputs.view_logits)
        features.append(outputs.features)
    return Outputs(np.concatenate(view_logits), np.concatenate(features))


def _main(xml: str, images: str, out: str, views: str) -> None:
    outputs = _run(Path(xml), Path(images), int(views))
    assert outputs.features is not None
    np.savez(out, view_logits=outputs.view_logits, features=outputs.features)


if __name__ == "__main__":
    _main(*sys.argv[1:])
