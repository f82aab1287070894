"""JSON Schema of recipes, for editors."""
