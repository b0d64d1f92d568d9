"""Commands: one module a topic, all wired in `dashboards.cli`."""
