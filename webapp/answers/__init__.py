"""Answers that stand on sources: found, chosen, written or quoted, checked sentence by sentence, or honestly declined."""
