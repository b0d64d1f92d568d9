"""What a person sees and types: commands, settings, the supervisor, the Dash app. It wires the rest together."""
