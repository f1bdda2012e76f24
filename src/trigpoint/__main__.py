"""``python -m trigpoint``: the same as the command ``trigpoint``."""

from trigpoint.cli import main

if __name__ == "__main__":
    main()
