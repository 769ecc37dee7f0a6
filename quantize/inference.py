"""What an IR says of many images, with all the CPU has or held to an older instruction set."""

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

from edgeskin.bundle.ir import ir_of
from edgeskin.errors import EdgeskinError
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.network.engine import Engine, instruction_set
from edgeskin.photo.decode import load_photo
from train.evaluate.outputs import Outputs

CONSOLE = Console(stderr=True)
Images = npt.NDArray[np.uint8]

NATIVE = "native"
OLDER = {"avx512_vnni": ("AVX512_CORE_VNNI", "AVX2"), "avx512": ("AVX2",), "avx2": ("AVX2",)}
"""What the gate runs besides the native instructions, by `instruction_set`; others have no older set."""


class InferenceError(EdgeskinError):
    """An IR that could not be run in a process of its own."""


def instruction_sets() -> tuple[str, ...]:
    """What to predict with here: ``native``, then the ONEDNN_MAX_CPU_ISA values this CPU can be held to."""
    return (NATIVE, *OLDER.get(instruction_set(), ()))


def prepare(files: Sequence[Path], settings: Preprocessing, out: Path) -> Path:
    """Photos through the serving preprocessing into an .npy file: uint8 (n, s, s, 3). Returns its path.

    Raises PhotoError for a picture that cannot be read.
    """
    shape = (len(files), settings.size, settings.size, 3)
    images = np.lib.format.open_memmap(out, "w+", np.uint8, shape)
    steps = track(files, f"preparing {out.stem} images", console=CONSOLE, transient=True)
    for position, file in enumerate(steps):
        images[position] = preprocess(load_photo(file, settings.size).image, settings)
    images.flush()
    return out


def load(images: Path) -> Images:
    """Prepared images, uint8 (n, s, s, 3), memory-mapped."""
    return np.load(images, mmap_mode="r", allow_pickle=False)


def predict(xml: Path, images: Path, isa: str = NATIVE, views: int = 1) -> Outputs:
    """Run an IR as the runtime does, an image in its views at a time.

    images: an .npy file of uint8 (n, s, s, 3). isa: ``native``, or a value of ONEDNN_MAX_CPU_ISA, which
    needs a process of its own. views: as the Engine's. Raises InferenceError when that process fails.
    """
    if isa == NATIVE:
        return _run(xml, images, views)
    with tempfile.TemporaryDirectory(dir=images.parent) as folder:
        out = Path(folder) / "outputs.npz"
        command = [
            sys.executable,
            "-m",
            "quantize.inference",
            *(str(p.resolve()) for p in (xml, images, out)),
            str(views),
        ]
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise InferenceError(f"{xml} with ONEDNN_MAX_CPU_ISA={isa} failed: {done.stderr.strip()[-2000:]}")
        with np.load(out, allow_pickle=False) as stored:
            return Outputs(**stored)


def _run(xml: Path, images: Path, views: int) -> Outputs:
    engine = Engine(ir_of(xml.read_bytes(), xml.with_suffix(".bin").read_bytes()), views=views)
    pictures = load(images)
    steps = track(pictures, f"running {xml.stem}", len(pictures), console=CONSOLE, transient=True)
    view_logits, features = [], []
    for picture in steps:
        said = engine.infer(picture)
        view_logits.append(said.view_logits)
        features.append(said.features.mean(axis=0))
    return Outputs(np.stack(view_logits), np.stack(features))


if __name__ == "__main__":
    ran = _run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4]))
    np.savez(sys.argv[3], **{name: value for name, value in vars(ran).items() if value is not None})
