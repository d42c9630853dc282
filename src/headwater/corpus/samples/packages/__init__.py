"""One reader for each package of text, or for each format that only packages of text come in."""
