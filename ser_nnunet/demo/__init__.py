"""A phantom cohort and the whole way once, for a machine without data."""
