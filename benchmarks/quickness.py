"""The tables of docs/performance.md, and README's of speed, from what was measured."""

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.facts import measured, of_the_default_bundle
from benchmarks.speed import hand_over
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from train.evaluate.report import table

BENCHES = {"bench": "default", "bench-avx2": "default", "bench-lite": "lite"}
"""Results of `edgeskin bench`, and the bundles that they are of."""


def speed() -> str:
    """The shipped bundles by machine, from bench*.json; whole processes from cold_start.json."""
    cold_start = measured("cold_start")
    of_the_default_bundle("cold_start.json", cold_start["bundle_sha256"])
    cold, rows, ratios = cold_start["results"], [], []
    for file, shipped in BENCHES.items():
        bench = measured(file)
        machine, settings = bench["machine"], bench["settings"]
        if settings["bundle_sha256"] != open_bundle(shipped).sha256:
            raise SettingError(f"{file}.json is of another bundle than the {shipped} one; measure it again")
        where = f"{machine['processor']}, {machine['isa']}"
        of_cold_start = f"{cold_start['machine']['processor']}, {cold_start['isa']}"
        ratios.append(f"{bench['speedup']:.2f} ({shipped}, {machine['isa']})")
        for row in sorted(bench["rows"], key=lambda row: row["precision"], reverse=True):
            m = row["median"]
            name = f"predict {'lite ' * (shipped == 'lite')}{row['precision']}"
            keys = (name, f"{name}, prepared") if where == of_cold_start else ()
            processes = [cold.get(key) for key in keys] or [None, None]
            rows.append(
                (
                    f"{where}: {shipped} {row['precision'].upper()}",
                    f"{row['model_bytes'] / 1e6:.1f} MB",
                    f"{m['p50_ms']:.1f} ms",
                    f"{m['peak_mb']:.0f} MB",
                    *(f"{one['median'] / 1e3:.2f} s" if one else "" for one in processes),
                )
            )
    views, threads = settings["views"], settings["threads"]
    head = (
        f"{threads} threads",
        "model",
        f"network, {views} views, p50",
        "peak memory",
        "whole `predict` process",
        "prepared",
    )
    return f"{table(head, rows)}\n\nTimes that INT8 is as fast as FP32: {', '.join(ratios)}."


def budget() -> str:
    """Where one whole process's time goes, from cold_start.json."""
    content = measured("cold_start")
    of_the_default_bundle("cold_start.json", content["bundle_sha256"])
    compiled, prepared = (content["budgets"][way] for way in ("compiled", "prepared"))
    loads = {"read, verify and compile": "read, verify and load"}
    rows = [
        (step, f"{values['median']:.0f}", f"{prepared[loads.get(step, step)]['median']:.0f}")
        for step, values in compiled.items()
    ]
    sums = [sum(values["median"] for values in of.values()) for of in (compiled, prepared)]
    rows.append(("all", *(f"{total:.0f}" for total in sums)))
    return table((f"step, ms; {hand_over.told(content['hand_over_ns'])}", "compiled", "prepared"), rows)


def peers() -> str:
    """The default bundle's network by each way to run it, from peers.json."""
    content = measured("peers")
    of_the_default_bundle("peers.json", content["bundle_sha256"])
    return peers_table(content)


def peers_table(content: dict[str, Any]) -> str:
    """The rows of a run of `benchmarks.speed.runtimes`."""
    rows = []
    ours = content["results"].get("edgeskin int8")
    for name, row in content["results"].items():
        times = []
        for key in ("infer_ms", "small_ms", "large_ms", "process_ms"):
            p95 = (row[key] or {}).get("p95")
            times.append((f"{row[key]['median']:.0f}" if row[key] else "") + (f" ({p95:.0f})" if p95 else ""))
        ratio = ""
        if ours and row["infer_ms"] and (ratios := ratios_of(row, ours)):
            ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        cores = row["hand_over_ns"]
        rate, told = row["photos_per_second"], row["agreement"]
        others = [
            f"{row['peak_mb']:.0f}; {row['peak_large_mb']:.0f}" if row["peak_mb"] else "",
            f"{rate['median']:.1f}" if rate else "",
            f"{row['installed_mb']:.0f}" if row["installed_mb"] else "",
        ]
        agrees = f"{told['same_class']:.3f}; {told['largest']:.1g}" if told else ""
        apart = f"{max(cores['rounds']):.0f}" if cores else ""
        rows.append((name, times[0], ratio, *times[1:], *others, agrees, apart))
    machine = content["machine"]
    head = (
        f"{machine['processor']}, {content['isa']}, {machine['threads']} threads; ms: p50 (p95)",
        "network, 8 views",
        "times edgeskin INT8, same round (range)",
        "600x450 file to answer",
        "12-megapixel file to answer",
        "whole process",
        "peak MB: small; 12 megapixels",
        "photos/s",
        "installed MB",
        "same class as torch; largest change of P(cancer), uncalibrated",
        "ns from core to core, the highest round",
    )
    return table(head, rows)


def ratios_of(row: dict[str, Any], ours: dict[str, Any]) -> list[float]:
    """Their time over ours in each round, where the cores shared a cache in both or in neither."""

    def rounds(of: dict[str, Any]) -> list[tuple[float, bool]]:
        times, cores = of["infer_ms"]["rounds"], of["hand_over_ns"]
        apart = cores["rounds"] if cores else [None] * len(times)
        return list(zip(times, map(hand_over.share_a_cache, apart), strict=True))

    pairs = zip(rounds(row), rounds(ours), strict=True)
    return [theirs / our for (theirs, its), (our, own) in pairs if its == own]


def profile() -> str:
    """Where the networks' time goes by kind of node, from variants.json."""
    content = measured("variants")
    of_the_default_bundle("variants.json", content["bundle_sha256"])
    int8, fp32 = (content["profiles"][precision] for precision in ("int8", "fp32"))
    nothing = {"ms": 0.0, "share": 0.0}
    rows = []
    for kind in {**int8, **fp32}:
        one, other = int8.get(kind, nothing), fp32.get(kind, nothing)
        told = (f"{of['ms']:.1f} ({of['share']:.0%})" if of["ms"] else "" for of in (one, other))
        rows.append((kind, *told))
    return table(("kind of node, its kernel", "INT8, ms", "FP32, ms"), rows)


def variants() -> str:
    """Ways to quantize and to spell the graph, from variants.json."""
    content = measured("variants")
    of_the_default_bundle("variants.json", content["bundle_sha256"])
    rows = [
        (
            name,
            f"{row['ms']['median']:.1f}",
            f"{median(row['times_shipped']):.3f} ({min(row['times_shipped']):.3f} to "
            f"{max(row['times_shipped']):.3f})",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['cancer_auroc']:.4f}",
            f"{row['lost']}; {row['gained']}",
            f"{row['p_cancer_99']:.3f}",
            f"{row['logit_rmse']:.2f}",
            ", ".join(row["failed"]) or ("passed" if name != "fp32" else ""),
        )
        for name, row in content["results"].items()
    ]
    cores = hand_over.told(content.get("hand_over_ns", []))
    head = (
        f"{content['isa']}, {cores}; {content['images']} images of val, one view",
        "8 views, ms",
        "times the shipped INT8, in turn (by round)",
        "MB",
        "cancer AUROC",
        "cancers lost; gained",
        "change of P(cancer), 99 %",
        "logit RMSE",
        "gate",
    )
    return table(head, rows)


def overhead() -> str:
    """What the runtime adds to the bare network, from overhead.json."""
    content = measured("overhead")
    of_the_default_bundle("overhead.json", content["bundle_sha256"])
    rows = [
        (
            bundle,
            f"{of['network']['median']:.1f}",
            *(
                f"{one['median']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"
                for name in ("engine", "assessment")
                for one, digits in ((of[f"{name} adds"], 2), (of[f"{name} over network"], 3))
            ),
        )
        for bundle, of in content["results"].items()
    ]
    machine = content["machine"]
    head = (
        f"{machine['processor']}, {content['isa']}, {machine['threads']} threads, "
        f"{hand_over.told(content['hand_over_ns'])}; ms",
        "bare OpenVINO",
        "the engine adds (95 % interval)",
        "times bare",
        "an assessment adds",
        "times bare",
    )
    return table(head, rows)


def scaling() -> str:
    """Lines through latency and throughput, from scaling.json."""
    content = measured("scaling")
    of_the_default_bundle("scaling.json", content["bundle_sha256"])
    rows = []
    for series, told in content["results"].items():
        points = ", ".join(f"{x}: {one['median']:.4g}" for x, one in told["points"].items())
        line = told["line"]
        fitted = f"{line['intercept']:.3g} + {line['slope']:.3g} x" if line else ""
        rows.append((series, points, fitted, f"{line['r_squared']:.4f}" if line else ""))
    head = (f"series; {hand_over.told(content['hand_over_ns'])}", "x: median (ms, or as told)", "line", "R²")
    return table(head, rows)


def rounding() -> str:
    """What this CPU's instructions and the engine's graph change, from rounding.json."""
    content = measured("rounding")
    of_the_default_bundle("rounding.json", content["bundle_sha256"])
    rows = []
    for name, row in content["results"].items():
        shift = row["p_cancer"]
        rows.append(
            (
                name,
                f"{row['logit_rms']:.4f}",
                f"{shift['median']:.4f}, {shift['p99']:.3f}, {shift['max']:.3f}",
                f"{row['other_risk']}; {row['other_class']}",
                f"{row['cancers_lost']}; {row['cancers_gained']}",
                *(f"{row[of][0]:.4f}; {row[of][1]:.4f}" for of in ("recall", "specificity", "auroc")),
            )
        )
    judged = {row["judged"]["instructions"] for row in content["results"].values()}
    head = (
        f"{content['isa']} here, {', '.join(judged)} where judged; {content['images']} images of val",
        "change of the logits, RMS",
        "of P(cancer): median, 99 %, most",
        "images of another risk; class",
        "cancers lost; gained",
        "cancer recall, judged; here",
        "cancer specificity",
        "cancer AUROC",
    )
    return table(head, rows)


QUICKNESS: dict[str, Callable[[], str]] = {
    "speed": speed,
    "peers": peers,
    "overhead": overhead,
    "profile": profile,
    "variants": variants,
    "budget": budget,
    "scaling": scaling,
    "rounding": rounding,
}
