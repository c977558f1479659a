"""Sources: files of the user that become documents."""
