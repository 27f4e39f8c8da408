"""``maxl-sr train``: train a model from an option file, with all of BasicSR's flags."""

import argparse

from maxl_sr.commands import pipelines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = 'Train a model from an option file.'
    pipelines.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run BasicSR's train pipeline in the current folder and return the exit code."""
    arguments = pipelines.for_basicsr(args)

    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    from maxl_sr import pipeline

    return pipeline.train(arguments)
