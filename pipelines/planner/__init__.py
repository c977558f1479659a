"""The capacity planner: what a memory of N documents takes, from builds of a small sample of its source."""
