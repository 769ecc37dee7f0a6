"""Coverage-guided fuzzing: ``python -m tests.fuzz TARGET --seconds N``; needs atheris.

A crash is any exception that the target does not expect, an input that takes more than 5 seconds, or more
than 2 GB of memory. libFuzzer then writes the input to the folder and exits with another status than 0.
``--input FILE`` runs one input again.
"""

import argparse
import os
import sys
import traceback
from pathlib import Path

import atheris

SECONDS_AN_INPUT, MEGABYTES, LARGEST = 5, 2048, 1 << 16

with atheris.instrument_imports(include=["edgeskin"]):
    from tests.fuzz import targets


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one reader.")
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="of inputs and crashes; default: runs/fuzz/TARGET")
    parser.add_argument("--input", type=Path, help="run this one input instead")
    arguments = parser.parse_args()
    target = targets.TARGETS[arguments.target]
    folder = arguments.folder or Path("runs", "fuzz", arguments.target)
    targets.FOLDER = folder
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    if arguments.input:
        target.run(arguments.input.read_bytes())
        return
    for place, seed in enumerate(target.seeds()):
        (corpus / f"seed-{place}").write_bytes(seed)

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            raise

    limits = {
        "timeout": SECONDS_AN_INPUT,
        "rss_limit_mb": MEGABYTES,
        "max_len": LARGEST,
        "max_total_time": arguments.seconds,
        "artifact_prefix": f"{folder}{os.sep}",
        "close_fd_mask": 2,  # stderr, where decoders write warnings
        "print_final_stats": 1,
        "verbosity": 0,
    }
    options = [f"-{name}={value}" for name, value in limits.items()]
    atheris.Setup([sys.argv[0], *options, str(corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
