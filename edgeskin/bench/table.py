"""A bench result as text for a terminal."""

from edgeskin.bench.measure import Result
from edgeskin.report.text import printable


def bench_text(result: Result) -> str:
    """The result as a table and a few lines."""
    settings, machine = result.settings, result.machine
    lines = [
        f"{machine['processor']}, {machine['isa']}, {settings['threads']} threads, openvino "
        f"{machine['openvino']}; {settings['bundle']}",
        f"median of {settings['rounds']} rounds of {settings['repeats']} runs; range of p50 over the rounds",
        f"{'':<6}{'model MB':>10}{'compile ms':>12}{'first ms':>10}{'p50 ms':>9}{'(range)':>16}{'p95 ms':>9}"
        f"{'photos/s':>10}{'peak MB':>9}",
    ]
    for row in result.rows:
        m = row.median
        laps = sorted(one.p50_ms for one in row.rounds)
        peak = "-" if m.peak_mb is None else f"{m.peak_mb:.0f}"
        lines.append(
            f"{row.precision:<6}{row.model_bytes / 1e6:>10.1f}{m.compile_ms:>12.0f}{m.first_ms:>10.1f}"
            f"{m.p50_ms:>9.2f}{f'({laps[0]:.2f}-{laps[-1]:.2f})':>16}{m.p95_ms:>9.2f}"
            f"{m.photos_per_second:>10.1f}{peak:>9}"
        )
    lines.append(f"INT8 is {result.speedup:.2f} times as fast as FP32 (median steady latency)")
    if (agreement := result.agreement) is not None:
        lines += [
            f"{name}: cancer recall {_share(recall)}, specificity {_share(agreement.specificity[name])}"
            for name, recall in agreement.recall.items()
        ]
        differences = ", ".join(
            f"{name} {value:.3f}" for name, value in agreement.p_cancer_difference.items()
        )
        lines += [
            f"{agreement.images} images, {agreement.cancers} cancers: same class {agreement.same_class:.3f}; "
            f"|dP(cancer)| {differences}",
            " ".join([f"cancers found by FP32 and lost by INT8: {len(agreement.lost)}", *agreement.lost]),
            *(f"could not be read: {failure}" for failure in agreement.failed),
            *(
                f"left out, not a class of the network: {label} ({count})"
                for label, count in agreement.left_out.items()
            ),
        ]
    return "\n".join(map(printable, lines))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
