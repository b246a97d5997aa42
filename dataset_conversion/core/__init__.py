"""What all converters share: finding, checking, standardizing and writing cases."""
