"""What is the default bundle, what was it trained on, and how was it calibrated? Tables of its manifest."""

from collections import Counter

from benchmarks.evaluation.committed import PRECISIONS
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.taxonomy import full_name


def bundle() -> Table:
    """Render what the default bundle is."""
    opened = open_bundle()
    manifest = opened.manifest
    run, images, preprocessing = manifest.training.run, manifest.training.images, manifest.preprocessing
    assert run is not None
    assert images is not None
    sizes = {precision: manifest.files[f"{precision}.bin"].size / 1e6 for precision in PRECISIONS}
    # The class priors are the mean probabilities on validation.
    mean_p_cancer = {
        precision: sum(
            prior
            for prior, name in zip(
                manifest.decision_rules[precision].class_priors, manifest.classes, strict=True
            )
            if name in manifest.cancer_classes
        )
        for precision in PRECISIONS
    }
    on_val = {name: sum(of.values()) for name, of in images["val"].items()}
    share = sum(on_val[name] for name in manifest.cancer_classes) / sum(on_val.values())
    points = "; ".join(
        f"{precision.upper()} {point.name} {point.threshold:.4f}"
        for precision in PRECISIONS
        for point in manifest.decision_rules[precision].operating_points
    )
    rows = [
        ("bundle", f"{manifest.name} {manifest.version}, manifest SHA-256 `{opened.sha256}`"),
        ("network", f"{run.config['model']['backbone']} of timm, and a head of two linear layers"),
        ("weights", ", ".join(f"{precision.upper()} {size:.1f} MB" for precision, size in sizes.items())),
        ("initial weights", f"{run.initial_weights.source}"),
        (
            "input",
            f"centre square, {preprocessing.size} px, mean of {preprocessing.views} views, colour constancy: "
            f"{preprocessing.color_constancy.replace('_', ' ')}",
        ),
        ("classes", ", ".join(f"{name} ({full_name(name)})" for name in manifest.classes)),
        ("cancer classes", ", ".join(manifest.cancer_classes)),
        ("calibration", manifest.decision_rules["int8"].calibration.method),
        ("thresholds on P(cancer)", points),
        (
            "mean P(cancer) on validation",
            ", ".join(f"{precision.upper()} {mean:.2f}" for precision, mean in mean_p_cancer.items())
            + f"; share of cancers {share:.2f}",
        ),
        ("split", f"SHA-256 `{manifest.training.split_sha256}`"),
        ("training images", f"{run.images['train']}, selected on {run.images['val']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]
    return Table(
        "Default bundle",
        "The bundle that `edgeskin` uses unless another one is named.",
        "",
        ("property", "default bundle"),
        rows,
    )


def data() -> Table:
    """Render the images by split, class and archive."""
    manifest = open_bundle().manifest
    images = manifest.training.images
    assert images is not None
    archives = sorted({archive for split in images.values() for of in split.values() for archive in of})
    rows = []
    for split in ("train", "val", "test"):
        for name in manifest.classes:
            of = images[split][name]
            rows.append((split, name, *(str(of.get(one, "")) for one in archives), str(sum(of.values()))))
        total = Counter({one: sum(of.get(one, 0) for of in images[split].values()) for one in archives})
        rows.append((split, "all", *(str(total[one]) for one in archives), str(total.total())))
    return Table(
        "Images",
        "Images of the default bundle's splits by class and archive.",
        "",
        ("split", "class", *archives, "all"),
        rows,
    )


def calibrations() -> Table:
    """Render the ways to calibrate, INT8 and FP32."""
    validation = open_bundle().manifest.validation
    int8, fp32 = (validation[precision]["calibrations"] for precision in PRECISIONS)
    measures = {
        "log loss of the class": "negative_log_likelihood",
        "log loss of cancer": "cancer_negative_log_likelihood",
        "Brier score of cancer": "brier",
        "calibration error of cancer": "calibration_error",
    }
    rows = []
    for method in int8:
        pairs = [(int8[method][measure], fp32[method][measure]) for measure in measures.values()]
        cells = ("; ".join(f"{value:.4f}" for value in pair if value is not None) for pair in pairs)
        rows.append((method, *cells))
    return Table(
        "Ways to calibrate",
        "Each way to calibrate on validation, cross-fitted, by image: INT8; FP32. The bundle uses the one "
        "with the lowest log loss of the class in FP32; ways that change P(cancer) alone are for "
        "comparison.",
        "",
        ("method", *measures),
        rows,
    )
