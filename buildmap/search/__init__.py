"""Many trainings, to find the best settings: which, on what, which of them go on, and what came of it."""
