"""What people and programs reach over HTTP: the page of the runs here, and a model behind OpenAI's interface."""
