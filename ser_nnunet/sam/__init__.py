"""What only training sees: SAM's checkpoint and its guidance."""
