"""The whole way from a run to a bundle."""

import dataclasses
import importlib.metadata
import json
import platform
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

import edgeskin
from edgeskin.bundle.bundle import HEAD, OOD, Bundle, Manifest
from edgeskin.bundle.manifest import Variant
from edgeskin.errors import EdgeskinError, SettingError
from quantize import pack, ptq
from quantize.export import check_parity, export
from quantize.fitting.calibration import Scores, chosen
from quantize.fitting.ood import FINAL, Seen, compare_scores, fit_statistics, threshold, write_statistics
from quantize.fitting.rules import Labels, compare_calibrations, fit_variant, labels_of
from quantize.inference import CONSOLE, instruction_sets, load, predict, prepare
from quantize.recipes import Material, climb
from quantize.report import Report, markdown, table
from train.data.split import assign_splits, split_sha256
from train.data.table import SPLITS, Sample, read_table, require_every_class, select, targets
from train.evaluate.evaluation import measure
from train.evaluate.outputs import Floats
from train.fit.run import RECORD, load_run
from train.models.lesion_net import ServedNet

PARITY_IMAGES = 64
RANKING_IMAGES = 300
OOD_IMAGES = 2400
STRANGERS = "ood_val"
"""The split of pictures that are known to be out of scope, to compare scores on; there may be none."""


class GateError(EdgeskinError):
    """A network whose INT8 form does not find what FP32 finds; it is not packed."""


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
    """Export, quantize, judge, calibrate and pack.

    Works in a folder beside ``out``, which is removed in the end. Raises GateError when no rung of the ladder
    passes, after writing OUT.gate.md and OUT.gate.json; ExportError when the conversion changes the network;
    SettingError when the data are not those of the run or too few; BundleError when ``out`` is taken.
    """
    pack.require_free(out, replace)
    net, config = load_run(run)
    record = json.loads((run / RECORD).read_text(encoding="utf-8"))
    seed = config.seed if seed is None else seed
    samples = assign_splits(read_table(data, config.classes), seed=config.seed)
    split = split_sha256(samples)
    if record.get("split_sha256") not in (None, split):
        raise SettingError(
            f"{data}: not the images and split that {run} was trained with, so its validation split may hold "
            "training images; give the same folder"
        )
    train, val = select(samples, "train"), select(samples, "val")
    require_every_class(val, config.classes)
    ptq.require_images(len(train), calibration_images)
    ordered = ptq.stratified(train, seed)
    # Those that calibrate come last, so that they rank layers only where there are few others.
    others = ordered[calibration_images:] + ordered[:calibration_images]
    cancers = [sample for sample in others if sample.label in config.cancer][:RANKING_IMAGES]
    labels = labels_of(val, config.classes, config.cancer)

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.work.") as folder:
        work = Path(folder)

        def images(kind: str, samples: Sequence[Sample]) -> Path:
            return prepare([sample.image for sample in samples], config.preprocessing, work / f"{kind}.npy")

        CONSOLE.print("exporting")
        served = ServedNet(net).eval()
        fp32 = export(served, config.preprocessing.size, work)
        pack.write_head(net, work / HEAD)
        views = config.preprocessing.views
        some = images("parity", ptq.stratified(val, seed)[:PARITY_IMAGES])
        parity = check_parity(served, work, some, views)
        validation = images("validation", val)
        outputs = predict(work / "fp32.xml", validation, views=views)
        compared = compare_calibrations(outputs.logits, labels)
        material = Material(
            config=config,
            seed=seed,
            served=served,
            fp32=fp32,
            train=train,
            calibration=load(images("calibration", ordered[:calibration_images])),
            cancers=load(images("cancers", cancers)),
            validation=validation,
            labels=labels,
            outputs=outputs,
            variant=fit_variant(outputs, labels, chosen(compared)),
        )
        rungs, int8_outputs = [], []
        for rung, said in climb(material, work):
            rungs.append(rung)
            int8_outputs.append(said)
            CONSOLE.print(table(rung))
        int8 = int8_outputs[-1]
        variants = {"fp32": material.variant, "int8": rungs[-1].variant}
        report = Report(
            passed=rungs[-1].passed,
            images=len(val),
            groups=len(set(labels.lesions)),
            calibration_images=calibration_images,
            instruction_sets=instruction_sets(),
            parity=parity,
            fp32=material.variant,
            rungs=tuple(rungs),
        )
        gate_md, gate_json = (out.with_name(f"{out.name}.gate.{kind}") for kind in ("md", "json"))
        if not report.passed:
            gate_md.write_text(markdown(report), encoding="utf-8")
            gate_json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
            failed = [check.name for c in rungs[-1].comparisons for check in c.checks if not check.passed]
            raise GateError(
                f"{run}: INT8 does not pass the gate ({', '.join(failed)}), so nothing is packed; "
                f"{gate_md} tells of every way tried; train further, or with another backbone"
            )
        CONSOLE.print("fitting what is out of scope")

        def seen(kind: str, samples: Sequence[Sample]) -> Seen:
            prepared = images(kind, samples)
            return Seen.of(predict(work / "int8.xml", prepared, views=views), load(prepared))

        learned = ordered[:OOD_IMAGES]
        known = seen("known", learned)
        val_seen = {
            name: Seen.of(said, load(validation)) for name, said in (("fp32", outputs), ("int8", int8))
        }
        statistics = fit_statistics(known)
        write_statistics(statistics, work / OOD)
        variants = {
            name: dataclasses.replace(variant, ood_threshold=threshold(statistics, val_seen[name]))
            for name, variant in variants.items()
        }
        strangers = [sample for sample in samples if sample.split == STRANGERS]
        known_targets = targets(learned, config.classes)
        ood_scores = (
            compare_scores(
                (known, known_targets),
                (val_seen["int8"], labels.targets),
                seen("strangers", strangers),
                labels.lesions,
                config.classes,
            )
            if strangers
            else {}
        )
        ood = {
            "score": FINAL,
            "training_images": len(learned),
            "others": len(strangers),
            "precision": "int8",
            "compared": {name: asdict(one) for name, one in ood_scores.items()},
        }
        manifest = Manifest(
            name=name,
            version=version,
            classes=config.classes,
            cancer_classes=config.cancer,
            preprocessing=config.preprocessing,
            variants=variants,
            ood=ood,
            validation={
                "fp32": _validation(val, outputs.logits, labels, variants["fp32"], compared),
                "int8": _validation(
                    val, int8.logits, labels, variants["int8"], compare_calibrations(int8.logits, labels)
                ),
            },
            training={
                "seed": config.seed,
                "split_sha256": split,
                "images": _counts(samples),
                "run": record,
            },
            gate=_without_lesions(asdict(report)),
            versions=_versions(),
            files={},
        )
        bundle = pack.pack(work, out, manifest, markdown(report), replace)
    # A report of an earlier failure would contradict the bundle.
    gate_md.unlink(missing_ok=True)
    gate_json.unlink(missing_ok=True)
    return bundle


def _validation(
    val: Sequence[Sample],
    logits: Floats,
    labels: Labels,
    variant: Variant,
    compared: Mapping[str, Scores],
) -> dict[str, Any]:
    """What people want to know first, with 95 % lesion-bootstrap intervals, and the calibrations compared."""
    threshold = variant.operating_points[0].threshold
    rules = (labels.classes, labels.cancer_classes, threshold)
    measures = measure(val, logits, *rules, variant.calibration, variant.class_priors)
    return {
        "images": measures.images,
        "lesions": measures.lesions,
        "cancer_auroc": asdict(measures.cancer_auroc),
        "cancer_recall": asdict(measures.screening.recall),
        "cancer_specificity": asdict(measures.screening.specificity),
        "balanced_accuracy": asdict(measures.balanced_accuracy),
        "class_recall": {name: asdict(one.recall) for name, one in measures.classes.items()},
        "calibrations": {name: asdict(one) for name, one in compared.items()},
    }


def _without_lesions(report: dict[str, Any]) -> dict[str, Any]:
    """Their scores are in the manifest already, with the variants."""
    for variant in (report["fp32"], *(rung["variant"] for rung in report["rungs"])):
        del variant["lesion_scores"]
    return report


def _counts(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, int]]]:
    """Images by split, class and source."""
    counts = Counter((s.split, s.label, s.source) for s in samples if s.split in SPLITS)
    nested: dict[str, dict[str, dict[str, int]]] = {}
    for (split, label, source), count in sorted(counts.items()):
        nested.setdefault(split, {}).setdefault(label, {})[source] = count
    return nested


def _versions() -> dict[str, str]:
    packages = ("torch", "timm", "onnx", "onnxruntime", "openvino", "nncf", "numpy")
    return {
        "edgeskin": edgeskin.__version__,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }
