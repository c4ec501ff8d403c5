"""``python -m hashret``: the command line."""

from hashret.cli import main

main()
