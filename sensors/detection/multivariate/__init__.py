"""Many series at once: readings that contradict one another, and the quality of drinking water."""
