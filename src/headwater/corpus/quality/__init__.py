"""What is kept out of a corpus for its own sake: rules by kind, language, a classifier, boilerplate of a site."""
