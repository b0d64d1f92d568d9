"""What an event touches: whom a closure leaves dry, where gas goes, what a burst washes out."""
