"""The command `ucuie`, and `python -m ucuie`: hears Ctrl-C while the command itself is being imported."""

import sys

from ucuie.startup import is_interrupted


def main() -> None:
    """The entry point of the command."""
    try:
        from ucuie.cli import main as run

        run()
    except (KeyboardInterrupt, Exception) as error:
        if not is_interrupted(error):
            raise
        # What `cli.common` says, which may not be there yet.
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    finally:
        # After Ctrl-C in code made of a string, as dataclasses make it, `python -m` ends itself by the
        # signal, though it was heard; running another such code makes it forget.
        exec("")  # noqa: S102


if __name__ == "__main__":
    main()
