"""`blurvote evaluate`: what the defence is worth on frames that no attacker has touched."""
