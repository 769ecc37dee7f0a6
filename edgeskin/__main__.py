"""``python -m edgeskin`` is the command ``edgeskin``."""

from edgeskin.cli.main import main

main()
