"""How many views should the engine run at once?

    python -m benchmarks.speed.batches [--rounds 40]

Times the default bundle's network on one photo in all its views, run by one, two, four and eight at once, in
alternating rounds. Writes benchmarks/speed/results/batches.json.
"""

from functools import partial

import numpy as np

from benchmarks.environment import (
    hardware,
    parse_rounds,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import paired_rounds, spread
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network import engine

RESULT = result_path(__file__)
AT_ONCE = (1, 2, 4, 8)


def main() -> None:
    """Measure, print and write the result."""
    rounds = parse_rounds(__doc__, 40)
    bundle = open_bundle()
    settings = bundle.manifest.preprocessing
    shape = (settings.size, settings.size, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    results = {}
    for precision in ("int8", "fp32"):
        runs = {}
        for number in AT_ONCE:
            engine.VIEWS_PER_BATCH = number
            compiled = engine.Engine(bundle.ir(precision), views=settings.views)
            runs[str(number)] = partial(compiled.infer, image)
        times = paired_rounds(runs, rounds, warm_up=3)
        results[precision] = {number: spread(values) for number, values in times.items()}
        for name, values in results[precision].items():
            print(f"{precision} by {name}: {values['median']:7.2f} ms")
    write_result(
        RESULT,
        result(
            f"python -m benchmarks.speed.batches --rounds {rounds}",
            "openvino",
            "numpy",
            unit=f"milliseconds, one photo in {settings.views} views, by views at once",
            results=results,
        ),
    )


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    return Table(
        "Views at once",
        f"Milliseconds of the network on one photo in all its views, by how many views run at once; medians. "
        f"{hardware(content)}.",
        content["command"],
        ("precision", *(f"by {number}" for number in content["results"]["int8"])),
        [
            (precision.upper(), *(f"{values['median']:.1f}" for values in of.values()))
            for precision, of in content["results"].items()
        ],
    )


if __name__ == "__main__":
    main()
