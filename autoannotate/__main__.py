"""`python -m autoannotate`, the same as `autoannotate`."""

from autoannotate.cli import main

main()
