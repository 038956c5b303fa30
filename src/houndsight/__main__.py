"""`python -m houndsight`, for where the command is not on the path."""

from houndsight.cli.main import main

if __name__ == "__main__":
    main()
