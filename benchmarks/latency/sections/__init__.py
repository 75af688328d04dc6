"""The parts of `blurvote bench`: each module measures one thing and adds it to the results."""
