"""What the defence does to accuracy."""
