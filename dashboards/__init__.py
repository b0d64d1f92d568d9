"""What does a person see and type: the command line, settings, the supervisor, the Dash app. It wires the rest together."""
