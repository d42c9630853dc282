"""What is measured of a text, a class each: numbers in columns, by which a corpus decides later what it keeps."""
