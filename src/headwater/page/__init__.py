"""What people look at: the report, the live page, the playground and the endpoint."""
