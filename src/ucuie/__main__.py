"""`python -m ucuie`: the command."""

from ucuie.cli import main

if __name__ == "__main__":
    main()
