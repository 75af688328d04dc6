"""What runs a guard's graph: one small protocol, and one module for each engine behind it."""
