"""What ``python -m maxl_sr.train`` and its like call, and ``main`` of these modules: the same as ``maxl-sr train``."""

from collections.abc import Sequence

from maxl_sr.commands.dispatch import door

train = door('train')
test = door('test')
prepare = door('prepare')
export = door('export')
web = door('web')
compare = door('compare')


def prepared(argv: Sequence[str] | None = None) -> str:
    """Prepare the data as ``maxl-sr prepare`` with the arguments `argv` and return the summary.

    Raises:
        UserError: A mistake in what was given.
    """
    import argparse
    import sys

    from maxl_sr.commands import prepare as command

    parser = argparse.ArgumentParser(prog='python -m maxl_sr.prepare')
    command.add_arguments(parser)
    return command.prepared(parser.parse_args(sys.argv[1:] if argv is None else argv))
