"""The verbs of the console script `geodtr`, one module each. Nothing imports them but `main`."""
