"""`python -m fleetscore` is the command line."""

from fleetscore.cli.__main__ import main

main()
