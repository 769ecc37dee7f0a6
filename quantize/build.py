"""Builds a bundle from a training run."""

import dataclasses
import importlib.metadata
import json
import platform
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import openvino

import edgeskin
from edgeskin.bundle.bundle import Bundle
from edgeskin.bundle.manifest import (
    HEAD,
    OOD,
    DecisionRules,
    Manifest,
    MeasureReference,
    RunRecord,
    TrainingRecord,
)
from edgeskin.decision.ood import read_statistics
from edgeskin.errors import EdgeskinError, SettingError
from edgeskin.results import Precision
from quantize import pack, ptq
from quantize.export import FP32, Parity, check_parity, export
from quantize.fitting.calibration import CalibrationScores, best_method, compare_methods
from quantize.fitting.decision_rules import fit_decision_rules
from quantize.fitting.labels import Labels, labels_of
from quantize.fitting.ood import Activations, fit_statistics, fit_threshold, write_statistics
from quantize.fitting.ood_comparison import BUNDLE_SCORE, OodReport, compare_scores
from quantize.fitting.reference import first_of_each_lesion, fit_bundle_reference, measure_quality
from quantize.inference import CONSOLE, instruction_sets, load, predict, prepare
from quantize.recipes import INT8, Attempt, QuantizationInputs, search
from quantize.report import GateReport, checks_table, markdown, validate
from train.config import TrainConfig
from train.data.split import assign_splits, split_sha256
from train.data.table import SPLITS, Sample, require_every_class, select, targets
from train.evaluate.outputs import Outputs
from train.fit.run import load_run, read_record
from train.input.photos import read_tables
from train.models.lesion_net import LesionNet, ServedNet

PARITY_IMAGES = 64
RANKING_IMAGES = 300
"""Most images of cancers on which accuracy control ranks layers."""
OOD_IMAGES = 2400
"""Most training images on which the OOD score is fitted."""
OOD_SPLIT = "ood_val"
"""The split of known OOD images, on which OOD scores are compared; it may be absent."""
VALIDATION = "validation"
"""Name of the prepared validation images in the working folder."""
PACKAGES = ("torch", "timm", "onnx", "onnxruntime", "openvino", "nncf", "numpy")


class GateError(EdgeskinError):
    """An INT8 network that misses cancers that FP32 finds, so that no bundle is packed."""


@dataclass(frozen=True)
class Source:
    """A training run and the images to build its bundle with.

    Attributes:
        net: The trained network.
        config: Settings of the run.
        record: Record of the run, as run.json holds it.
        samples: All images of the table, with their splits.
        split_sha256: Hash of the splits.
        calibration_images: Number of training images that fix the INT8 ranges.
        seed: Seed of the choice of images.
    """

    net: LesionNet
    config: TrainConfig
    record: RunRecord
    samples: Sequence[Sample]
    split_sha256: str
    calibration_images: int
    seed: int

    @cached_property
    def train(self) -> list[Sample]:
        """Training images, in the order of the table."""
        return select(self.samples, "train")

    @cached_property
    def ordered(self) -> list[Sample]:
        """Training images, so that any first n are even over the classes."""
        return ptq.stratified(self.train, self.seed)

    @cached_property
    def val(self) -> list[Sample]:
        """Validation images."""
        return select(self.samples, "val")

    @cached_property
    def labels(self) -> Labels:
        """Labels of the validation images."""
        return labels_of(self.val, self.config.classes, self.config.cancer)

    @property
    def calibration(self) -> list[Sample]:
        """Training images that fix the INT8 ranges."""
        return self.ordered[: self.calibration_images]

    @property
    def cancers(self) -> list[Sample]:
        """Training images of cancers for accuracy control, those for calibration last."""
        last = self.ordered[self.calibration_images :] + self.calibration
        return [sample for sample in last if sample.label in self.config.cancer][:RANKING_IMAGES]

    def prepare(self, samples: Sequence[Sample], work: Path, name: str) -> Path:
        """Preprocess images into ``name.npy`` in the working folder, and return its path."""
        files = [sample.image for sample in samples]
        return prepare(files, self.config.preprocessing, work / f"{name}.npy")


@dataclass(frozen=True)
class Fitted:
    """One precision on validation.

    Attributes:
        outputs: Outputs of the network.
        rules: Rules that are fitted to them.
        calibrations: Scores of the calibration methods.
    """

    outputs: Outputs
    rules: DecisionRules
    calibrations: Mapping[str, CalibrationScores]


def build(
    run: Path,
    data: Path,
    out: Path,
    name: str,
    version: str,
    calibration_images: int = 300,
    seed: int | None = None,
    replace: bool = False,
) -> Bundle:
    """Export, quantize, pass the gate, fit the rules and pack.

    The work happens in a temporary folder beside ``out``.

    Args:
        run: Folder of the training run.
        data: Folder of the images and the table that it was trained with.
        out: Folder of the bundle.
        name: Name of the bundle.
        version: Version of the bundle.
        calibration_images: Number of training images that fix the INT8 ranges.
        seed: Seed of the choice of images; that of the run if None.
        replace: Whether to replace a bundle at ``out``.

    Raises:
        GateError: No recipe passes the gate. ``OUT.gate.md`` and ``OUT.gate.json`` hold the report.
        ExportError: The conversion changes the network.
        SettingError: The images are not those of the run, or too few.
        DataError: Images cannot be read.
        BundleError: ``out`` is taken.
    """
    pack.require_free(out, replace)
    source = open_source(run, data, calibration_images, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.work.") as folder:
        work = Path(folder)
        CONSOLE.print("exporting")
        served, model, parity = _export(source, work)
        fp32 = _fit_fp32(source, work)
        attempts, int8_outputs = _search(_quantization_inputs(source, work, served, model, fp32), work)
        report = GateReport(
            passed=attempts[-1].passed,
            images=len(source.val),
            groups=len(set(source.labels.lesions)),
            calibration_images=calibration_images,
            instruction_sets=instruction_sets(),
            parity=parity,
            fp32=fp32.rules,
            attempts=attempts,
        )
        if not report.passed:
            raise _gate_error(run, out, report)
        CONSOLE.print("fitting the OOD score")
        int8_calibrations = compare_methods(int8_outputs.logits, source.labels)
        int8 = Fitted(int8_outputs, attempts[-1].rules, int8_calibrations)
        ood, fitted = _fit_ood(source, work, {"fp32": fp32, "int8": int8})
        CONSOLE.print("fitting the reference")
        reference = _fit_reference(source, work, fitted)
        manifest = _manifest(name, version, source, fitted, ood, report, reference)
        bundle = pack.pack(work, out, manifest, markdown(report), replace)
    # The report of an earlier failure would contradict the bundle.
    for path in _failure_reports(out):
        path.unlink(missing_ok=True)
    return bundle


def open_source(run: Path, data: Path, calibration_images: int, seed: int | None = None) -> Source:
    """Read a run and its table; see `build` for the arguments.

    Raises:
        SettingError: The images are not those of the run, or too few.
        DataError: Images cannot be read.
    """
    net, config = load_run(run)
    record = read_record(run)
    samples = assign_splits(read_tables([data], config.classes), seed=config.seed)
    split = split_sha256(samples)
    if record.split_sha256 != split:
        raise SettingError(
            f"{data}: {run} was trained with other images or another split, so this validation split may "
            "hold training images; give the folder that the run was trained with"
        )
    source = Source(
        net, config, record, samples, split, calibration_images, config.seed if seed is None else seed
    )
    require_every_class(source.val, config.classes)
    ptq.require_images(len(source.train), calibration_images)
    return source


def _export(source: Source, work: Path) -> tuple[ServedNet, openvino.Model, Parity]:
    served = ServedNet(source.net).eval()
    model = export(served, source.config.preprocessing.size, work)
    pack.write_head(source.net, work / HEAD)
    images = source.prepare(ptq.stratified(source.val, source.seed)[:PARITY_IMAGES], work, "parity")
    return served, model, check_parity(served, work, images, source.config.preprocessing.views)


def _fit_fp32(source: Source, work: Path) -> Fitted:
    images = source.prepare(source.val, work, VALIDATION)
    outputs = predict(work / FP32, images, views=source.config.preprocessing.views)
    calibrations = compare_methods(outputs.logits, source.labels)
    rules = fit_decision_rules(outputs, source.labels, best_method(calibrations))
    return Fitted(outputs, rules, calibrations)


def _quantization_inputs(
    source: Source, work: Path, served: ServedNet, model: openvino.Model, fp32: Fitted
) -> QuantizationInputs:
    return QuantizationInputs(
        config=source.config,
        seed=source.seed,
        served=served,
        fp32=model,
        train=source.train,
        calibration=load(source.prepare(source.calibration, work, "calibration")),
        cancers=load(source.prepare(source.cancers, work, "cancers")),
        validation=work / f"{VALIDATION}.npy",
        labels=source.labels,
        outputs=fp32.outputs,
        rules=fp32.rules,
    )


def _search(inputs: QuantizationInputs, work: Path) -> tuple[tuple[Attempt, ...], Outputs]:
    """Try recipes until one passes; the outputs are those of the last attempt."""
    attempts, outputs = [], []
    for attempt, attempt_outputs in search(inputs, work):
        attempts.append(attempt)
        outputs.append(attempt_outputs)
        CONSOLE.print(checks_table(attempt))
    return tuple(attempts), outputs[-1]


def _failure_reports(out: Path) -> tuple[Path, Path]:
    return out.with_name(f"{out.name}.gate.md"), out.with_name(f"{out.name}.gate.json")


def _gate_error(run: Path, out: Path, report: GateReport) -> GateError:
    """Write the reports of a failed gate, and make the error that names them."""
    for_people, as_json = _failure_reports(out)
    for_people.write_text(markdown(report), encoding="utf-8")
    as_json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    failed = ", ".join(report.attempts[-1].failed_checks)
    return GateError(
        f"{run}: INT8 does not pass the gate ({failed}), so no bundle is packed; {for_people} reports every "
        "recipe that was tried; train further, or with another backbone"
    )


def _fit_ood(
    source: Source, work: Path, fitted: Mapping[Precision, Fitted]
) -> tuple[OodReport, dict[Precision, Fitted]]:
    """Fit the OOD score to INT8, write it, and add a threshold to the rules of each precision."""

    def activations(samples: Sequence[Sample], name: str) -> Activations:
        images = source.prepare(samples, work, name)
        outputs = predict(work / INT8, images, views=source.config.preprocessing.views)
        return Activations.of(outputs, load(images))

    samples = source.ordered[:OOD_IMAGES]
    train = activations(samples, "train")
    statistics = fit_statistics(train)
    write_statistics(statistics, work / OOD)
    images = load(work / f"{VALIDATION}.npy")
    val = {name: Activations.of(one.outputs, images) for name, one in fitted.items()}
    with_threshold = {
        name: dataclasses.replace(
            one, rules=dataclasses.replace(one.rules, ood_threshold=fit_threshold(statistics, val[name]))
        )
        for name, one in fitted.items()
    }
    known_ood = [sample for sample in source.samples if sample.split == OOD_SPLIT]
    compared = {}
    if known_ood:
        train_targets = targets(samples, source.config.classes)
        ood = activations(known_ood, "ood")
        compared = compare_scores(train, train_targets, val["int8"], source.labels, ood)
    return OodReport(BUNDLE_SCORE, len(samples), len(known_ood), "int8", compared), with_threshold


def _fit_reference(
    source: Source, work: Path, fitted: Mapping[Precision, Fitted]
) -> dict[Precision, dict[str, MeasureReference]]:
    """Fit the reference for monitoring, once the rules have a threshold of the OOD score."""
    first = first_of_each_lesion(source.labels.lesions)
    files = [source.val[position].image for position in first]
    qualities = measure_quality(files, source.config.preprocessing.size)
    statistics = read_statistics((work / OOD).read_bytes())
    images = load(work / f"{VALIDATION}.npy")
    references: dict[Precision, dict[str, MeasureReference]] = {}
    for precision, one in fitted.items():
        val = Activations.of(one.outputs, images)
        distances = statistics.distances(val.features, val.logits, val.pictures)[first]
        outputs = Outputs(one.outputs.view_logits[first])
        references[precision] = fit_bundle_reference(qualities, outputs, distances, one.rules)
    return references


def _manifest(
    name: str,
    version: str,
    source: Source,
    fitted: Mapping[Precision, Fitted],
    ood: OodReport,
    gate: GateReport,
    reference: Mapping[Precision, Mapping[str, MeasureReference]],
) -> Manifest:
    config = source.config
    return Manifest(
        name=name,
        version=version,
        classes=config.classes,
        cancer_classes=config.cancer,
        preprocessing=config.preprocessing,
        decision_rules={precision: one.rules for precision, one in fitted.items()},
        ood=asdict(ood),
        validation={
            precision: asdict(validate(source.val, one.outputs.logits, one.rules, one.calibrations))
            for precision, one in fitted.items()
        },
        training=TrainingRecord(config.seed, source.split_sha256, _counts(source.samples), source.record),
        gate=asdict(gate.without_lesion_scores()),
        versions=_versions(),
        files={},
        reference=reference,
    )


def _counts(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, int]]]:
    """Count images by split, class and source."""
    counts = Counter((s.split, s.label, s.source) for s in samples if s.split in SPLITS)
    nested: dict[str, dict[str, dict[str, int]]] = {}
    for (split, label, archive), count in sorted(counts.items()):
        nested.setdefault(str(split), {}).setdefault(label, {})[archive] = count
    return nested


def _versions() -> dict[str, str]:
    return {
        "edgeskin": edgeskin.__version__,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }
