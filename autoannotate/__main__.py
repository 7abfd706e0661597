"""`python -m autoannotate`, the same as `autoannotate`."""

from autoannotate.cli.main import main

main()
