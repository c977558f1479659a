"""The table `documents`: a source is read, and documents that it has twice are dropped."""
