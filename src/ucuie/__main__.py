"""`python -m ucuie` is the command `ucuie`."""

from ucuie.cli import main

if __name__ == "__main__":
    main()
