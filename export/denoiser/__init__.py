"""The denoiser that blurvote ships: its network, its training images, its training, its graph."""
