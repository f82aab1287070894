"""Tables: embedded, or the user's own."""
