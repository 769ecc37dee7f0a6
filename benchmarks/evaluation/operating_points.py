"""What do the operating points certify, what did they keep on the test split, and what is an answer worth?

Tables and a figure of the committed evaluations.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.evaluation.committed import PRECISIONS, Evaluations
from benchmarks.evaluation.decided import decided
from benchmarks.evaluation.locked_test import COMMAND
from benchmarks.tables import Table
from edgeskin.arrays import Bools, Float64s
from quantize.fitting.labels import lowest_by_lesion
from train.evaluate.bootstrap import Estimate, bootstrap_weights, estimate_share
from train.evaluate.metrics import net_benefit, predictive_values
from train.evaluate.report import text

FIGURE = "decision-curve.png"
PREVALENCES = (0.01, 0.03, 0.10, 0.15)
BENEFIT_THRESHOLDS = np.arange(0.02, 0.301, 0.01)


def table(evaluations: Evaluations) -> Table:
    """Render what each threshold certifies, and what it kept on the test split."""
    rows = []
    for precision in PRECISIONS:
        test = decided(evaluations, "test", precision)
        cancer = lowest_by_lesion(test.p_cancer[test.is_cancer], test.lesions[test.is_cancer])
        benign = -lowest_by_lesion(-test.p_cancer[~test.is_cancer], test.lesions[~test.is_cancer])
        for point in test.rules.operating_points:
            bound = point.bound
            assert bound is not None
            rows.append(
                (
                    f"{precision.upper()} {point.name}",
                    f"{point.threshold:.4f}",
                    f"{bound.sensitivity:.3f}",
                    f"{bound.missed} of {bound.lesions}",
                    text(independent_share(cancer >= point.threshold)),
                    f"{(benign < point.threshold).mean():.3f}",
                )
            )
    return Table(
        "Operating points",
        "The thresholds on P(cancer) of the default bundle, the sensitivity that validation certifies with "
        "95% confidence, and what they kept on the test split. A lesion counts once, with its worst photo. "
        "Brackets hold 95% intervals.",
        COMMAND,
        (
            "operating point",
            "threshold",
            "certified sensitivity",
            "missed validation lesions",
            "test: cancer lesions found in every photo",
            "test: benign lesions not referred in any photo",
        ),
        rows,
    )


def prevalence_table(evaluations: Evaluations) -> Table:
    """Render what an answer is worth where cancer is rarer or more frequent: INT8, by the test split."""
    test, rows = decided(evaluations, "test", "int8"), []
    for point in test.rules.operating_points:
        referred = test.p_cancer >= point.threshold
        sensitivity, specificity = referred[test.is_cancer].mean(), (~referred)[~test.is_cancer].mean()
        for share in PREVALENCES:
            ppv, npv = predictive_values(float(sensitivity), float(specificity), share)
            rows.append(
                (
                    point.name,
                    f"{share:.0%}",
                    f"{ppv:.1%}",
                    f"{npv:.2%}",
                    f"{1 / ppv:.1f}",
                    f"{1e3 * (1 - npv):.1f}",
                )
            )
    return Table(
        "Predictive values by prevalence",
        "What a referral means where cancer is rarer or more frequent, from the sensitivity and "
        "specificity of the default bundle (INT8) on the test split, by image.",
        COMMAND,
        (
            "operating point",
            "prevalence of cancer",
            "PPV",
            "NPV",
            "referrals per cancer",
            "cancers per 1,000 not referred",
        ),
        rows,
        FIGURE,
    )


def plot(evaluations: Evaluations, path: Path) -> None:
    """Plot the decision curve: net benefit by threshold, INT8 on the test split."""
    test = decided(evaluations, "test", "int8")
    share = test.is_cancer.mean()
    lines: Mapping[str, Float64s] = {
        "by P(cancer)": np.array([net_benefit(test.is_cancer, test.p_cancer, t) for t in BENEFIT_THRESHOLDS]),
        "refer all": share - (1 - share) * BENEFIT_THRESHOLDS / (1 - BENEFIT_THRESHOLDS),
        "refer none": np.zeros(len(BENEFIT_THRESHOLDS)),
    }
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name, line in lines.items():
        axis.plot(BENEFIT_THRESHOLDS, line, label=name)
    axis.set(xlabel="threshold on P(cancer)", ylabel="net benefit", ylim=(-0.05, None))
    axis.legend()
    figure.savefig(path, dpi=120)


def independent_share(found: Bools) -> Estimate:
    """Estimate a share of n independent lesions, found: (n,), with its interval."""
    groups = [str(i) for i in range(len(found))]
    return estimate_share(np.ones_like(found), found, bootstrap_weights(groups))
