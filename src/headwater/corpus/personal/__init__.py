"""Personal data and secrets: where they stand in a text, and the placeholders that take their place."""
