"""What several parts need and no library has: hashing, files, processes, memory, grids, environment variables."""
