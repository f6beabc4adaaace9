"""Where the figures in docs/ come from."""
