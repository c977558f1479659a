"""Ops: what a worker does with one unit of a step."""
