"""Summaries made of sentences of the text itself: nothing is invented, every sentence knows where it stands."""
