"""Networks are compared with the first, paired; runs by their logs."""

from benchmarks.evaluation import experiments
from tests.benchmarks.conftest import evaluated


def test_a_network_against_itself_changes_nothing() -> None:
    images = [(f"m{i}", "MEL", {"MEL": 0.3 + i / 20, "NV": 0.7 - i / 20}) for i in range(8)]
    images += [(f"n{i}", "NV", {"MEL": 0.1 + i / 20, "NV": 0.9 - i / 20}) for i in range(8)]
    rows = experiments.losses_table({name: evaluated(images) for name in experiments.LOSSES}).rows
    assert [row[2] for row in rows] == ["", *["0.000 (0.000 to 0.000)"] * 2]
    # Of 64 pairs the melanoma has the higher score but where it is lower (6) or the same (4, each a half).
    assert rows[0][1].startswith(f"{(64 - 6 - 4 / 2) / 64:.3f} ")


def test_the_selected_epoch_is_that_of_the_best_auroc() -> None:
    table = experiments.runs_table()
    assert {row[0] for row in table.rows} == {path.stem for path in experiments.EXPERIMENTS.glob("*.csv")}
    assert all(int(row[2]) in range(1, int(row[1]) + 1) for row in table.rows)
