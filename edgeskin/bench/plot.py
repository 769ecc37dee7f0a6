"""The figure of a bench result (extra ``plots``); nothing else in the package imports matplotlib."""

import io
from collections.abc import Callable
from statistics import median

from matplotlib.figure import Figure

from edgeskin.bench.measure import Result, Row


def plot_bench(result: Result) -> bytes:
    """A PNG of latency, model size and memory of FP32 and INT8 side by side, each round as a dot."""
    panels: dict[str, Callable[[Row], list[float]]] = {
        "network, ms (p50)": lambda row: [r.p50_ms for r in row.rounds],
        "model, MB": lambda row: [row.model_bytes / 1e6],
        "compile, ms": lambda row: [r.compile_ms for r in row.rounds],
        "peak memory, MB": lambda row: [r.peak_mb or float("nan") for r in row.rounds],
    }
    figure = Figure(figsize=(10, 3), layout="constrained")
    for axis, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for position, row in enumerate(sorted(result.rows, key=lambda row: row.precision)):
            points = values(row)
            axis.bar(position, median(points), width=0.6)
            axis.plot([position] * len(points), points, "k.", markersize=4)
        axis.set_xticks(range(len(result.rows)), sorted(row.precision for row in result.rows))
        axis.set_title(title, fontsize=10)
    machine = result.machine
    figure.suptitle(
        f"INT8 {result.speedup:.2f}x as fast: {machine['processor']}, {machine['isa']}, "
        f"openvino {machine['openvino']}",
        fontsize=10,
    )
    png = io.BytesIO()
    figure.savefig(png, dpi=120, format="png")
    return png.getvalue()
