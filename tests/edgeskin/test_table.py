"""The text of a benchmark run, with its numbers."""

import dataclasses

from edgeskin.bench.measure import Result
from edgeskin.bench.table import bench_text


def test_the_text_holds_the_numbers(bench_result: Result) -> None:
    text = bench_text(bench_result)
    assert f"{bench_result.speedup:.2f}" in text
    for row in bench_result.rows:
        (line,) = [one for one in text.splitlines() if one.startswith(f"{row.precision} ")]
        assert line.split()[1] == f"{row.model_bytes / 1e6:.1f}"
        for value in (f"{row.median.p50_ms:.2f}", f"{row.median.p95_ms:.2f}", f"{row.median.compile_ms:.0f}"):
            assert value in line.split()
    agreement = bench_result.agreement
    assert agreement is not None
    assert f"{agreement.same_class:.3f}" in text
    assert all(failure in text for failure in agreement.failed)


def test_what_is_unknown_is_a_dash(bench_result: Result) -> None:
    assert bench_result.agreement is not None
    rows = tuple(
        dataclasses.replace(row, median=dataclasses.replace(row.median, peak_mb=None))
        for row in bench_result.rows
    )
    agreement = dataclasses.replace(bench_result.agreement, recall={"int8": None, "fp32": None})
    text = bench_text(dataclasses.replace(bench_result, rows=rows, agreement=agreement))
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("int8 ", "fp32 "))] == [
        "-"
    ] * 2
    assert [line for line in text.splitlines() if line.startswith(("int8:", "fp32:")) and "-," in line]


def test_lost_cancers_and_left_out_labels_are_named(bench_result: Result) -> None:
    assert bench_result.agreement is not None
    agreement = dataclasses.replace(bench_result.agreement, lost=("a/lost.jpg",), left_out={"UNK": 3})
    text = bench_text(dataclasses.replace(bench_result, agreement=agreement))
    assert "a/lost.jpg" in text
    assert "UNK (3)" in text


def test_without_labels_there_is_no_agreement(bench_result: Result) -> None:
    with_labels = bench_text(bench_result).splitlines()
    without = bench_text(dataclasses.replace(bench_result, agreement=None)).splitlines()
    assert with_labels[: len(without)] == without


def test_names_and_labels_fake_no_line(bench_result: Result) -> None:
    assert bench_result.agreement is not None
    name = "a\nint8: cancer recall 1.000\x1b[2K"
    changed = dataclasses.replace(bench_result.agreement, lost=(name,), failed=(name,), left_out={name: 1})
    text = bench_text(dataclasses.replace(bench_result, agreement=changed))
    assert "\x1b" not in text
    assert text.count(r"a\nint8: cancer recall 1.000\x1b[2K") == 3
