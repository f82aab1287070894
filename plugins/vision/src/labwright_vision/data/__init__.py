"""Pictures with a class each: embedded, downloaded, or the user's own folder."""
