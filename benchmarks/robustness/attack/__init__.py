"""`blurvote attack`: what an attacker makes of a guard, and what he has to know for it."""
