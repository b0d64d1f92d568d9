"""Pages of the operations view."""
