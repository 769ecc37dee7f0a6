"""How many external dermoscopy pictures that are known to be benign would be referred?

    python -m benchmarks.known_benign --data DIR

Images of the split external whose label is BENIGN: their class is not told, so `python -m train evaluate`
leaves them out. Those of a patient or lesion in train, val or test are left out here too. Writes
benchmarks/results/known-benign.npz, from which benchmarks.report computes the specificity.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.machine import RESULTS
from edgeskin.bundle import DEFAULT_BUNDLE
from train.data import SPLITS, Sample, read_table, select
from train.predict import open_network, predict

BENIGN = "BENIGN"
FILE = RESULTS / "known-benign.npz"


def main() -> None:
    """Predict with both precisions of the default bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    table = read_table(parser.parse_args().data)
    samples = known_benign(table)
    networks = {precision: open_network(DEFAULT_BUNDLE, precision) for precision in ("int8", "fp32")}
    np.savez_compressed(
        FILE,
        image_id=[sample.image_id for sample in samples],
        group=[sample.group for sample in samples],
        bundle_sha256=networks["int8"].sha256,
        **{precision: predict(network, samples).logits for precision, network in networks.items()},
    )
    print(f"{len(samples)} images: {FILE}")


def known_benign(table: list[Sample]) -> list[Sample]:
    """External images known to be benign, of no group that is in train, val or test."""
    inside = {sample.group for sample in table if sample.split in SPLITS}
    return [s for s in select(table, "external") if s.label == BENIGN and s.group not in inside]


if __name__ == "__main__":
    main()
