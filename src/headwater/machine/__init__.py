"""One device and many processes: threads, memory, number formats, ranks and the layouts over them."""
