"""What every area stands on. Knows no area and no Flask."""
