"""Assessments, comparisons and bundles in words, for a terminal."""

from math import floor
from typing import Any

from edgeskin.bundle.bundle import Bundle
from edgeskin.taxonomy import full_name


def block(result: dict[str, Any]) -> str:
    """The lines of one picture, from ``Assessment.to_dict()``; of status ``assessed``, or turned away."""
    if result["status"] != "assessed":
        return _not_assessed(result)
    ranked = sorted(result["probabilities"].items(), key=lambda item: -item[1])
    # The decided class may be a rare one of little probability: its own is told all the same.
    shown = [item for place, item in enumerate(ranked) if place < 4 or item[0] == result["predicted_class"]]
    point, model = result["operating_point"], result["model"]
    p_cancer, total = result["cancer_probability"], result["timing_ms"]["total"]
    warnings, promised = turned_away(result), certified(result)
    lines = [
        result["image"],
        f"  risk      {result['risk']}",
        f"  P(cancer) {p_cancer:.3f}{where(result['prevalence'])} ({point['name']} threshold "
        f"{point['threshold']:.3f})",
        *([f"            {promised}"] if promised else []),
        f"  action    {result['action']}",
        *(f"  WARNING   {warning}" for warning in warnings),
        *(f"  picture   {advice}" for advice in result["quality"]["advice"]),
        *_certain(result["certainty"]),
        *_sampled(result["uncertainty"]),
        f"  class     {full_name(result['predicted_class'])}"
        + (" (the most probable if all were as frequent: a hint)" if result["class_priors"] else ""),
        *([f"  plausible {plausible(result)}"] if result["label_set"] is not None else []),
        "  output    "
        + "\n            ".join(f"{full_name(name):<26}{name:<6}{share:.3f}" for name, share in shown),
        "  not known " + "\n            ".join(result["blind_spots"]),
        f"  always    {result['safety_net']}",
        f"  model     {model['name']} {model['version']} ({model['precision']}, {model['sha256'][:12]}), "
        f"{total:.0f} ms",
        "",
    ]
    return "\n".join(lines)


def _not_assessed(result: dict[str, Any]) -> str:
    status, ood = result["status"].replace("_", " "), result["ood"]
    limit = f": {ood['score']:.1f}, where {ood['threshold']:.1f} is the most" if ood is not None else ""
    return (
        f"{result['image']}\n  not assessed ({status}{limit})\n  action    {result['action']}\n"
        f"  always    {result['safety_net']}\n"
    )


def where(prevalence: float | None) -> str:
    """For a share of cancers like which P(cancer) holds."""
    return "" if prevalence is None else f" where {prevalence:.0%} of pictures are cancers"


def turned_away(result: dict[str, Any]) -> list[str]:
    """What the gates would have said, had they not been told to let the picture through."""
    warnings, ood = [*result["quality"]["retake"]], result["ood"]
    if ood is not None and ood["score"] > ood["threshold"]:
        warnings.append(f"out of scope: {ood['score']:.1f}, where {ood['threshold']:.1f} is the most")
    return warnings


def certified(result: dict[str, Any]) -> str:
    """What the screening threshold promises; nothing beside a warning, which no promise was made for."""
    promise = result["operating_point"]["certificate"]
    if promise is None or turned_away(result):
        return ""
    return (
        f"above it are at least {floor(100 * promise['sensitivity'])} % of cancers like the "
        f"{promise['lesions']} it was chosen on, with a confidence of about {promise['confidence']:.0%}"
    )


def _certain(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    parts = ", ".join(f"{name} {value:.2f}" for name, value in told["parts"].items())
    return [f"  certainty {told['level']} ({told['score']:.2f}: {parts})"]


def plausible(result: dict[str, Any]) -> str:
    """The label set, and the most serious of several; nothing without one."""
    if result["label_set"] is None:
        return ""
    names = ", ".join(map(full_name, result["label_set"]))
    several = len(result["label_set"]) > 1
    return names + f"; the most serious: {full_name(result['leading_label'])}" * several


def _sampled(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    low, high = told["cancer_interval"]
    return [
        f"  sampled   P(cancer) {told['cancer_probability']:.3f}, of {told['samples']} networks 95 % between "
        f"{low:.3f} and {high:.3f}",
        f"            entropy {told['entropy']:.3f} nats, {told['epistemic']:.3f} of it their disagreement",
    ]


RISKS = ("LOW", "MEDIUM", "HIGH")
MEASURES = {
    "cancer_log_odds": "P(cancer), log odds",
    "asymmetry": "asymmetry",
    "border_irregularity": "border irregularity",
    "colors": "colours",
    "largest_color_difference": "largest colour change",
}


def comparison(told: dict[str, Any]) -> str:
    """The lines of two pictures of one lesion, from ``Comparison.to_dict()``."""
    before, after, fit = told["before"], told["after"], told["registration"]
    worse = max(before, after, key=lambda one: RISKS.index(one["risk"]))
    changed = "" if before["risk"] == after["risk"] else "  the risk has changed"
    lines = [
        f"before  {before['image']}",
        f"after   {after['image']}",
        f"  action    {worse['action']} (by the higher risk of the two, {worse['risk']})",
    ]
    for name, one in (("before", before), ("after", after)):
        lines += [f"  WARNING   {name}: {warning}" for warning in turned_away(one)]
    lines += [
        f"  laid on each other: correlation {fit['correlation']:.2f}, overlap {fit['overlap']:.0%}",
        f"  {'':<22}{'before':>9}{'after':>9}{'limit':>9}",
        f"  {'risk':<22}{before['risk']:>9}{after['risk']:>9}{'':>9}{changed}",
        f"  {'P(cancer)':<22}{before['cancer_probability']:>9.3f}{after['cancer_probability']:>9.3f}",
    ]
    for change in told["changes"]:
        limit = "" if change["limit"] is None else f"{change['limit']:.2f}"
        words = "  more than photos of one lesion differ" if change["beyond"] else ""
        values = f"{change['before']:>9.2f}{change['after']:>9.2f}{limit:>9}"
        lines.append(f"  {MEASURES[change['name']]:<22}{values}{words}")
    lines += [
        f"  limit: 95 % of {told['limits_of']['pairs']} pairs of photos of one lesion differ by no more",
        "  within the limits does not mean unchanged: small and slow changes are not found, growth is not",
        "  measured, and a photo has no scale",
        f"  always    {after['safety_net']}",
        "",
    ]
    return "\n".join(lines)


def bundle_lines(opened: Bundle) -> str:
    """What a bundle holds, every file of which has been verified."""
    manifest, preprocessing = opened.manifest, opened.manifest.preprocessing
    lines = [
        f"{manifest.name} {manifest.version}",
        f"  bundle     {opened.folder}",
        f"  SHA-256    {opened.sha256} (every file verified)",
        f"  classes    {', '.join(manifest.classes)} (cancer: {', '.join(manifest.cancer_classes)})",
        f"  input      {preprocessing.size} px, colour constancy {preprocessing.color_constancy}, "
        f"{preprocessing.views} views",
    ]
    for precision, variant in manifest.variants.items():
        lines.append(f"  {precision:<10} calibrated by {variant.calibration.method}")
        lines += [
            f"  {'':<10} {point.name}: P(cancer) >= {point.threshold:.4f}, on validation recall "
            f"{point.recall:.3f} at specificity {point.specificity:.3f}"
            + (f", certified {point.certificate.sensitivity:.3f}" if point.certificate else "")
            for point in variant.operating_points
        ]
        if variant.label_sets is not None:
            held = dict(zip(manifest.classes, variant.label_sets.thresholds, strict=True))
            told = ", ".join(f"{name} {threshold:.4f}" for name, threshold in held.items())
            lines.append(f"  {'':<10} label set, {variant.label_sets.coverage:.0%} of each class: {told}")
        if variant.ood_threshold is not None:
            lines.append(f"  {'':<10} out of scope above {variant.ood_threshold:.3f}")
    lines += [f"  {name:<10} {size / 1e6:8.2f} MB" for name, (_, size) in manifest.files.items()]
    return "\n".join(lines)
