"""HR-Mamba's adaptive chain of outlines, section 2.6 of the paper, to the letter."""
