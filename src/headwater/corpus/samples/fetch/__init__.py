"""Text that ships in other people's packages: downloaded by their own tools, unpacked, its licence written down."""
