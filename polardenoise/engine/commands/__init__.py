"""The commands of `polardenoise`, one module each.

A module gives `HELP` (one line), `add_arguments(parser)`, `run(arguments) -> dict` and
`summarise(summary) -> str`. It imports what is heavy (torch) inside `run`, so that `--help` answers
at once.
"""
