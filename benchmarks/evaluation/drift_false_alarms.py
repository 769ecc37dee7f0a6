"""How often does `edgeskin monitor` report a drift of one measure when nothing drifts?

    python -m benchmarks.evaluation.drift_false_alarms [--series 1000]

Draws a reference and 10,000 new pictures from one distribution, as often as there are series. Each series is
tested by `edgeskin.monitoring.drift`, with a look after every 50 pictures. An alarm at any look counts.
Writes benchmarks/evaluation/results/drift_false_alarms.json.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.environment import argument_parser, machine, result_path, write_result
from benchmarks.tables import Table
from edgeskin.arrays import Float64s
from edgeskin.batch.evaluation import wilson
from edgeskin.monitoring.drift import FALSE_ALARM_RATE, SequentialTest
from edgeskin.monitoring.reference import Measure, fit_reference

RESULT = result_path(__file__)
PICTURES = 10_000
REFERENCES = (300, 1000, 10_000)
Draw = Callable[[np.random.Generator, int], Float64s]
MEASURES: dict[str, Draw] = {
    "number": lambda rng, count: rng.normal(size=count),
    "3 categories": lambda rng, count: rng.integers(0, 3, count).astype(np.float64),
    "retakes, 2%": lambda rng, count: (rng.random(count) < 0.02).astype(np.float64),
}
"""Each draws so many values of a measure."""


def main() -> None:
    """Simulate, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--series", type=int, default=1000)
    options = parser.parse_args()
    content = {
        "command": f"python -m benchmarks.evaluation.drift_false_alarms --series {options.series}",
        "machine": machine("numpy"),
        "series": options.series,
        "pictures": PICTURES,
        "rate": FALSE_ALARM_RATE,
        "alarms": [
            {
                "measure": name,
                "reference": reference,
                "alarms": sum(
                    has_alarm(draw, reference, PICTURES, (number, seed)) for seed in range(options.series)
                ),
            }
            for number, (name, draw) in enumerate(MEASURES.items())
            for reference in REFERENCES
        ],
    }
    print(table(content).grid())
    write_result(RESULT, content)


def has_alarm(draw: Draw, reference: int, pictures: int, seed: tuple[int, ...]) -> bool:
    """Whether a drift is ever reported in one series in which nothing drifts.

    Args:
        draw: Draws the values of the measure.
        reference: Pictures of the reference.
        pictures: Of the series.
        seed: Of both.
    """
    values = draw(np.random.default_rng((*seed, reference)), reference + pictures)
    fitted = fit_reference(values[:reference, None], [Measure("x", "x")])["x"]
    test = SequentialTest(fitted)
    test.add(values[reference:])
    return test.p_value() <= FALSE_ALARM_RATE


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the share of series with an alarm. content: of the result; None for the committed one."""
    content = content or json.loads(RESULT.read_text(encoding="utf-8"))
    rows = []
    for one in content["alarms"]:
        share = wilson(one["alarms"], content["series"])
        assert share is not None
        interval = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
        rows.append((one["measure"], f"{one['reference']:,}", interval))
    return Table(
        "False alarms of the drift test",
        f"{content['series']:,} simulated series of {content['pictures']:,} pictures each, in which nothing "
        f"drifts; one measure, tested at {content['rate']:.0%}. Intervals are 95% (Wilson).",
        content["command"],
        ("measure", "pictures of the reference", "series with an alarm"),
        rows,
    )


if __name__ == "__main__":
    main()
