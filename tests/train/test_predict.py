"""Predictions of runs and bundles: their views, distances and rules; images and logits that are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeskin import Classifier
from edgeskin.bundle.bundle import open_bundle
from edgeskin.imaging.dihedral import views_of
from edgeskin.imaging.preprocess import preprocess
from edgeskin.photo.decode import load_photo
from train.data.split import split_sha256
from train.data.table import DataError, Sample, read_table, select
from train.evaluate.outputs import Outputs
from train.evaluate.predict import open_network, predict
from train.fit.run import load_run
from train.models.lesion_net import ServedNet


@pytest.fixture(scope="module")
def samples(lesion_folder: Path) -> list[Sample]:
    return select(read_table(lesion_folder), "test")


def test_views_of_a_run_are_the_runtimes(micro_run: Path, samples: list[Sample]) -> None:
    """In the order of `edgeskin.imaging.dihedral`, which the exported network gets them in."""
    net, config = load_run(micro_run)
    found = predict(open_network(micro_run), samples[:3]).view_logits
    assert found.shape == (3, 8, 8)
    for sample, view_logits in zip(samples, found, strict=False):
        views = views_of(preprocess(load_photo(sample.image, 64).image, config.preprocessing), 8)
        with torch.inference_mode():
            expected = ServedNet(net).eval()(torch.from_numpy(np.stack(views)))[0].numpy()
        np.testing.assert_allclose(view_logits, expected, atol=1e-3)


def test_a_run_has_no_rules_and_the_split_of_its_record(micro_run: Path, lesion_folder: Path) -> None:
    network = open_network(micro_run)
    assert network.rules is None
    assert network.split_sha256 == split_sha256(read_table(lesion_folder))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_bundle_predicts_what_the_runtime_assesses(
    shared_micro_bundle: Path, samples: list[Sample], precision: str
) -> None:
    network = open_network(shared_micro_bundle, precision)
    assert network.rules == open_bundle(shared_micro_bundle).manifest.decision_rules[precision]
    outputs = predict(network, samples[:5])
    with Classifier(shared_micro_bundle, precision, quality_gate=False) as classifier:
        for sample, distances in zip(samples, outputs.ood, strict=False):
            ood = classifier.assess(sample.image).ood
            np.testing.assert_allclose(distances, [ood.features, ood.picture], rtol=1e-5)


def test_logits_that_are_no_numbers_are_refused(micro_run: Path, samples: list[Sample]) -> None:
    def infer(some: list[Sample]) -> Outputs:
        logits = np.zeros((len(some), 1, 8), np.float32)
        logits[[2, 5], 0, 3] = np.nan, np.inf
        return Outputs(logits)

    with pytest.raises(DataError) as caught:
        predict(replace(open_network(micro_run), infer=infer), samples)
    assert caught.value.code == "not_finite"
    named = [sample.image_id for sample in samples if sample.image_id in str(caught.value)]
    assert named == [samples[2].image_id, samples[5].image_id]


def test_an_image_that_cannot_be_read_is_named(
    micro_run: Path, samples: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    damaged = replace(samples[0], image=tmp_path / "text.png")
    with pytest.raises(DataError, match=r"text\.png") as caught:
        predict(open_network(micro_run), [*samples[1:3], damaged])
    assert caught.value.code == "unreadable"
