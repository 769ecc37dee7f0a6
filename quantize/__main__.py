"""Run the command line as ``python -m quantize``."""

from quantize.cli import main

main()
