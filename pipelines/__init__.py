"""Stages and builds on Ray, and the command line."""
