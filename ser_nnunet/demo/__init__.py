"""A simulated cohort, and every step from its conversion to the evaluation, for a machine without data."""
