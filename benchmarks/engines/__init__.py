"""`blurvote engines`: files of one model in several precisions, on every engine of this machine."""
