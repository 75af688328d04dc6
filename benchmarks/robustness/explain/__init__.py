"""`blurvote explain`: which pixels of a frame each view, and the vote, went by."""
