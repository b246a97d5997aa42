"""The network that is deployed: torch and nothing else."""
