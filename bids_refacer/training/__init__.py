"""How weights are made: cached canonical heads, drawn unknown regions, augmentation, a resumable loop."""
