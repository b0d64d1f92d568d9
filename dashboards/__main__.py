"""`python -m dashboards` is `chengmai`: the supervisor starts its parts this way."""

from dashboards.cli import main

main()
