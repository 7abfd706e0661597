"""`python -m autoannotate`, the same as `autoannotate`."""

from autoannotate.cli.app import main

main()
