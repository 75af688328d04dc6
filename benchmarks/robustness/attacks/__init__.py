"""Attacks on the differentiable twin of a guard, and by queries on the guard itself."""
