"""The command ``edgeskin``, also as ``python -m edgeskin``."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command. SIGINT and SIGTERM end the process at once, with 128 plus their number."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    # Not before, as its imports take a while: Ctrl-C would end them with a traceback.
    from edgeskin.cli.main import main as run

    run()


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
