"""Many runs: compare methods over seeds, the paper's ablations, and what each method costs."""
