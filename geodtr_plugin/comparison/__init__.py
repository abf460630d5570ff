"""Many runs: compare methods over seeds, the paper's tables and figures, and what each method costs."""
