"""What data is, and a recipe for it: `labwright suggest`. Plugins bring what knows their kinds of files."""
