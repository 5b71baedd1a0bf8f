"""`python -m modelkit` is the `modelkit` command."""

from modelkit.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
