"""`python -m ferbench` is the command line."""

from ferbench.cli.main import console

if __name__ == "__main__":
    console()
