"""Real faults in running camera pipelines, and how long until verdicts flow again."""
