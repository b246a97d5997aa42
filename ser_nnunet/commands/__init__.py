"""The command line: one module per command; no other package uses argparse."""
