"""Writes a bundle: every file hashed, the folder complete or not there at all."""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from torch import nn

from edgeskin.bundle.bundle import FILES, MANIFEST, OPTIONAL_FILES, Bundle, Manifest, open_bundle
from edgeskin.errors import BundleError
from train.models.lesion_net import LesionNet

GATE = "gate.md"


def require_free(out: Path, replace: bool) -> None:
    """Raise BundleError when there is something at ``out`` that may not be replaced."""
    if out.exists() and not replace:
        raise BundleError(f"{out}: exists already; add --replace, or name another folder")
    if out.exists() and not (out / MANIFEST).is_file():
        raise BundleError(f"{out}: exists and is no bundle, so it is not replaced; name another folder")


def write_head(net: LesionNet, path: Path) -> None:
    """The classification head as float32 arrays, for dropout sampling and class activation maps.

    dropout (2,), linear1_weight (H, F), linear1_bias (H,), norm_weight, norm_bias, norm_mean, norm_var (H,),
    norm_eps (), linear2_weight (C, H), linear2_bias (C,). The head is Dropout, Linear 1, SiLU, BatchNorm,
    Dropout, Linear 2. Readable with allow_pickle=False.
    """
    first_dropout, linear1, _, norm, second_dropout, linear2 = net.head
    assert isinstance(norm, nn.BatchNorm1d)
    values = {
        "dropout": [first_dropout.p, second_dropout.p],
        "linear1_weight": linear1.weight.detach(),
        "linear1_bias": linear1.bias.detach(),
        "norm_weight": norm.weight.detach(),
        "norm_bias": norm.bias.detach(),
        "norm_mean": norm.running_mean,
        "norm_var": norm.running_var,
        "norm_eps": norm.eps,
        "linear2_weight": linear2.weight.detach(),
        "linear2_bias": linear2.bias.detach(),
    }
    np.savez(path, **{name: np.asarray(value, dtype=np.float32) for name, value in values.items()})


def pack(source: Path, out: Path, manifest: Manifest, gate: str, replace: bool = False) -> Bundle:
    """Make ``out`` a bundle of the files in ``source``, and verify it.

    manifest: complete but for ``files``. gate: the report, for people. The bundle is made in a folder beside
    ``out`` and moved into place whole. Raises BundleError as `require_free`, or when it cannot be read back.
    """
    require_free(out, replace)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        staged, former = Path(folder) / "new", Path(folder) / "former"
        staged.mkdir()
        names = (*FILES, *(OPTIONAL_FILES if manifest.ood else ()))
        for name in names:
            shutil.copyfile(source / name, staged / name)
        complete = dataclasses.replace(manifest, files={name: _describe(staged / name) for name in names})
        text = json.dumps(dataclasses.asdict(complete), indent=2, allow_nan=False)
        (staged / MANIFEST).write_text(text + "\n", encoding="utf-8")
        (staged / GATE).write_text(gate, encoding="utf-8")
        open_bundle(staged).verify()
        if out.exists():
            out.rename(former)
        staged.rename(out)
    bundle = open_bundle(out)
    bundle.verify()
    return bundle


def _describe(path: Path) -> tuple[str, int]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), len(content)
