"""`python -m buildmap`."""

from buildmap.cli.app import main

main()
