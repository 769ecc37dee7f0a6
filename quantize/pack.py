"""Writes a bundle: every file is hashed, and the folder is complete or absent."""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from edgeskin.bundle.bundle import MANIFEST, Bundle, open_bundle
from edgeskin.bundle.manifest import FILES, OPTIONAL_FILES, FileRecord, Manifest
from edgeskin.errors import BundleError
from edgeskin.results import to_plain
from train.models.lesion_net import LesionNet

GATE = "gate.md"


def require_free(out: Path, replace: bool) -> None:
    """Check that a bundle may be written to a folder.

    Raises:
        BundleError: The folder exists, and may not be replaced or is no bundle.
    """
    if out.exists() and not replace:
        raise BundleError(f"{out}: exists already; add --replace, or name another folder")
    if out.exists() and not (out / MANIFEST).is_file():
        raise BundleError(f"{out}: exists and is no bundle, so it is not replaced; name another folder")


def write_head(net: LesionNet, path: Path) -> None:
    """Write the classification head to head.npz, for MC-dropout and class activation maps without torch.

    The head is Dropout, Linear 1, SiLU, BatchNorm, Dropout, Linear 2. With F features, H hidden units and C
    classes, the file holds float32 arrays: dropout (2,), linear1_weight (H, F), linear1_bias (H,),
    norm_weight, norm_bias, norm_mean and norm_var (H,), norm_eps (), linear2_weight (C, H) and linear2_bias
    (C,).
    """
    first_dropout, linear1, _, norm, second_dropout, linear2 = net.head
    assert isinstance(first_dropout, nn.Dropout)
    assert isinstance(second_dropout, nn.Dropout)
    assert isinstance(linear1, nn.Linear)
    assert isinstance(linear2, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    np.savez(
        path,
        dropout=np.array([first_dropout.p, second_dropout.p], np.float32),
        linear1_weight=_float32(linear1.weight),
        linear1_bias=_float32(linear1.bias),
        norm_weight=_float32(norm.weight),
        norm_bias=_float32(norm.bias),
        norm_mean=_float32(norm.running_mean),
        norm_var=_float32(norm.running_var),
        norm_eps=np.float32(norm.eps),
        linear2_weight=_float32(linear2.weight),
        linear2_bias=_float32(linear2.bias),
    )


def pack(source: Path, out: Path, manifest: Manifest, gate: str, replace: bool = False) -> Bundle:
    """Write a bundle and verify it.

    The bundle is made in a temporary folder beside ``out`` and then moved into place.

    Args:
        source: Folder of the bundle's files.
        out: Folder of the bundle.
        manifest: The manifest, complete but for ``files``.
        gate: The gate report in Markdown.
        replace: Whether to replace a bundle at ``out``.

    Raises:
        BundleError: As `require_free`, or the bundle cannot be read back.
    """
    require_free(out, replace)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        staged, former = Path(folder) / "new", Path(folder) / "former"
        staged.mkdir()
        names = (*FILES, *(OPTIONAL_FILES if manifest.ood else ()))
        for name in names:
            shutil.copyfile(source / name, staged / name)
        complete = dataclasses.replace(manifest, files={name: _file_record(staged / name) for name in names})
        text = json.dumps(to_plain(complete), indent=2, allow_nan=False)
        (staged / MANIFEST).write_text(text + "\n", encoding="utf-8")
        (staged / GATE).write_text(gate, encoding="utf-8")
        open_bundle(staged).verify()
        if out.exists():
            out.rename(former)
        staged.rename(out)
    bundle = open_bundle(out)
    bundle.verify()
    return bundle


def _float32(value: Tensor | None) -> npt.NDArray[np.float32]:
    assert value is not None
    return np.asarray(value.detach(), dtype=np.float32)


def _file_record(path: Path) -> FileRecord:
    content = path.read_bytes()
    return FileRecord(hashlib.sha256(content).hexdigest(), len(content))
