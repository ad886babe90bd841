"""The other side of each comparison, as small as it can honestly be."""
