"""`blurvote alarm`: how often the alarm errs, and how soon it comes, on a guard and a video."""
