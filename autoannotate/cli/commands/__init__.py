"""One module a family of commands; `autoannotate.cli.main` finds them, so adding a command is adding a file here."""
