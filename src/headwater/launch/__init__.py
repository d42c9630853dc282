"""How a run is started on machines that a scheduler lends: files for people to read and to submit."""
