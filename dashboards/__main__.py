"""`python -m dashboards` is `chengmai`: the supervisor starts its parts this way."""

from dashboards.cli import main

if __name__ == "__main__":  # load starts workers, which import this module again
    main()
