"""``python -m bids_refacer`` and the ``bids_refacer`` command."""

# nothing else may be imported before `forget_current_folder`, not even __future__
import sys

from bids_refacer import forget_current_folder

forget_current_folder()


def main(argv: list[str] | None = None) -> int:
    """Run the app, or what the first word names (``train``, ``simulate``, ``release``, ...); returns the exit code.

    The parser comes first and alone: ``--help`` and a mistyped option must not wait for torch and nipype to load.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        from bids_refacer.cli.train import main as train

        return train(argv[1:])
    if argv[:1] == ["simulate"]:
        from bids_refacer.cli.simulate import main as simulate

        return simulate(argv[1:])
    if argv[:1] == ["release"]:
        from bids_refacer.cli.release import main as release

        return release(argv[1:])
    if argv[:1] == ["deface"]:
        from bids_refacer.cli.deface import main as deface

        return deface(argv[1:])
    if argv[:1] == ["verify"]:
        from bids_refacer.cli.verify import main as verify

        return verify(argv[1:])
    from bids_refacer.cli.parser import parse_args

    settings = parse_args(argv)
    from bids_refacer.cli.run import run

    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
