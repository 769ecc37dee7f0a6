"""What becomes of pictures that have none of the classes as a label?

    python -m benchmarks.evaluation.ood_images --data DIR

External dermoscopy that is known to be benign, its class not told: how much of it would be referred? Everyday
pictures (splits ood_val and ood_test): how many are out of scope, or turned away before? Images of a group in
train, val or test are left out. Writes benchmarks/results/outsiders.npz: logits, distances from training and
the quality gate's verdict, from which benchmarks.render_docs computes its tables.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.environment import RESULTS
from edgeskin.bundle.bundle import DEFAULT_BUNDLE, open_bundle
from edgeskin.errors import SettingError
from edgeskin.imaging.quality import assess_quality
from edgeskin.photo.decode import load_photo
from train.data.table import SPLITS, Sample, read_table
from train.evaluate.predict import open_network, predict

BENIGN, EVERYDAY = "BENIGN", "OOD"
FILE = RESULTS / "outsiders.npz"


@dataclass(frozen=True)
class Outsiders:
    """n pictures. label: BENIGN or EVERYDAY. split, group: (n,). retake: whether the quality gate turns it
    away.

    logits, ood: by precision, (n, C) and (n, 2).
    """

    label: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    retake: npt.NDArray[np.bool_]
    logits: dict[str, npt.NDArray[np.float32]]
    ood: dict[str, npt.NDArray[np.float32]]


def main() -> None:
    """Predict with both precisions of the default bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    samples = outsiders(read_table(parser.parse_args().data))
    size = open_bundle().manifest.preprocessing.size
    values: dict[str, Any] = {
        **{name: [getattr(s, name) for s in samples] for name in ("image_id", "label", "split", "group")},
        "retake": [bool(assess_quality(load_photo(sample.image, size)).retake) for sample in samples],
    }
    for precision in ("int8", "fp32"):
        network = open_network(DEFAULT_BUNDLE, precision)
        said = predict(network, samples)
        values |= {"bundle_sha256": network.sha256, precision: said.logits, f"{precision}_ood": said.ood}
    np.savez_compressed(FILE, **values)
    print(f"{len(samples)} images: {FILE}")


def outsiders(table: Sequence[Sample]) -> list[Sample]:
    """Benign external images and everyday ones, of no group that is in train, val or test."""
    inside = {sample.group for sample in table if sample.split in SPLITS}
    return [s for s in table if s.label in (BENIGN, EVERYDAY) and s.group not in inside]


def read() -> Outsiders:
    """What was predicted. Raises SettingError when it is not of the default bundle."""
    with np.load(FILE, allow_pickle=False) as stored:
        if str(stored["bundle_sha256"]) != open_bundle().sha256:
            raise SettingError(f"{FILE}: of another bundle; run python -m benchmarks.evaluation.ood_images")
        return Outsiders(
            **{name: stored[name] for name in ("label", "split", "group", "retake")},
            logits={name: stored[name] for name in ("int8", "fp32")},
            ood={name: stored[f"{name}_ood"] for name in ("int8", "fp32")},
        )


if __name__ == "__main__":
    main()
